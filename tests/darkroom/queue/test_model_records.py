"""Records of models come back from Redis as they were written, and strange ones not at all."""

from redis import Redis

from darkroom.model_record import ModelRecord
from darkroom.queue.model_records import ModelRecords


def test_records_come_back_as_written(redis: Redis) -> None:
    records = ModelRecords(redis)
    records.put(ModelRecord(name="pix", error="no such folder"))
    redis.hset("darkroom:models", "old", '{"name": "old", "gone": 1}')
    assert records.all() == {"pix": ModelRecord(name="pix", error="no such folder")}
