"""The records that workers leave in Redis, by model name; used by all processes, knows no torch."""

from pydantic import ValidationError

from darkroom.model_record import ModelRecord
from darkroom.queue.exchange import Client, Exchange, send

_RECORDS = "darkroom:models"


class ModelRecords(Client):
    """What each worker found out about its models. Methods raise QueueUnavailableError."""

    def put(self, record: ModelRecord) -> None:
        self.carry_out(send("HSET", _RECORDS, record.name, record.model_dump_json()))

    def names(self) -> frozenset[str]:
        """The models that have a record."""
        keys: list[bytes] = self.carry_out(send("HKEYS", _RECORDS))
        return frozenset(key.decode() for key in keys)

    def all(self) -> dict[str, ModelRecord]:
        """Records that this version can read; others are left out."""
        return self.carry_out(all_records())


def all_records() -> Exchange[dict[str, ModelRecord]]:
    """Records that this version can read; others are left out."""
    raw = yield from send("HGETALL", _RECORDS)
    records = [_read(value) for value in raw.values()]
    return {record.name: record for record in records if record}


def _read(value: bytes) -> ModelRecord | None:
    try:
        return ModelRecord.model_validate_json(value)
    except ValidationError:
        return None
