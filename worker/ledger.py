"""How far each client is ahead of its share of the device, or behind it; engine thread of the
worker, knows neither jobs nor models."""

from collections.abc import Mapping


class Ledger:
    """Of the clients whose jobs are under way: to each a part of the time that passes take is due,
    by its weight. Whoever leaves is forgotten.

    What a pass was worth to a client is how long it would have needed the device alone to get as
    far. Where passes are shared all may get more than is due to them. That counts for nobody, so
    that nobody is further ahead than others are behind."""

    def __init__(self) -> None:
        self.ahead: Mapping[str, float] = {}
        """Seconds, below 0 where it is behind."""
        self._weights: Mapping[str, float] = {}

    def present(self, weights: Mapping[str, float]) -> None:
        """These are the clients from now on; those who are new are neither ahead nor behind."""
        self._weights = weights
        self.ahead = {client: self.ahead.get(client, 0.0) for client in weights}

    def passed(self, seconds: float, worth: Mapping[str, float]) -> None:
        """A pass was made that took so long. `worth`: to clients, in times that."""
        due = seconds / sum(self._weights.values()) if self._weights else 0.0
        ahead = {
            client: self.ahead[client] + seconds * worth.get(client, 0.0) - due * weight
            for client, weight in self._weights.items()
        }
        leads = sum(each for each in ahead.values() if each > 0)
        lags = -sum(each for each in ahead.values() if each < 0)
        kept = min(lags / leads, 1.0) if leads > 0 else 1.0
        self.ahead = {client: each * kept if each > 0 else each for client, each in ahead.items()}
