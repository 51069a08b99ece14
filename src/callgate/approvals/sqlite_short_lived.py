"""What is kept for a short time beside requests: sessions, what is good for one use, and messages under way."""

from collections.abc import Sequence
from typing import Final

from callgate.approvals.model import Deadline, Moment
from callgate.approvals.sqlite_steps import SqliteSteps
from callgate.approvals.store import Notice, Secret, Session
from callgate.approvals.stored import Unreadable, session_bytes, session_of

# Clocks that are kept in step differ by less.
STEP_S: Final = 5.0
# Longer than a session may last by any configuration.
SESSION_S: Final = 24 * 3600.0
# Whoever reaches the page can begin sign-ins, a few hundred bytes each.  Beyond these, the oldest one is given up.
MAX_SECRETS_OF_KIND: Final = 10_000
# Whoever may sign in can do so again and again.  Beyond these, the oldest session is over.
MAX_SESSIONS: Final = 10_000
# Some messages for each request that may wait.  Beyond these, the oldest message is given up.
MAX_NOTICES: Final = 50_000


class SqliteShortLived(SqliteSteps):
    """The part of a `Store` that is no requests."""

    def keep_session(self, session: Session) -> None:
        """See `Store.keep_session`.  Of more than 10 000 the one that began first is over.

        One that was used since it began is only changed: somebody may have signed it out meanwhile.
        """
        last = float(session.last.wall)
        body = self._seal.sealed(session_bytes(session), "session", session.digest, last)
        with self._step():
            changed = self._run("UPDATE sessions SET last = ?, body = ? WHERE digest = ?", last, body, session.digest)
            if changed.rowcount or session.last != session.began:
                return
            self._run("INSERT INTO sessions (digest, last, body) VALUES (?, ?, ?)", session.digest, last, body)
            self._run(
                "DELETE FROM sessions WHERE seq <= (SELECT seq FROM sessions ORDER BY seq DESC LIMIT 1 OFFSET ?)",
                MAX_SESSIONS,
            )

    def session(self, digest: str) -> Session | None:
        """See `Store.session`."""
        with self._step():
            row = self._run("SELECT last, body FROM sessions WHERE digest = ?", digest).fetchone()
        try:
            return session_of(self._seal.opened(row[1], "session", digest, row[0])) if row else None
        except Unreadable:
            return None

    def drop_session(self, digest: str) -> None:
        """See `Store.drop_session`."""
        with self._step():
            self._run("DELETE FROM sessions WHERE digest = ?", digest)

    def keep_secret(self, secret: Secret) -> None:
        """See `Store.keep_secret`.  Of more than 10 000 of one kind the oldest is given up."""
        since = Moment(float(secret.since.wall), secret.since.boot, float(secret.since.since_boot))
        place = (secret.digest, secret.kind, since.wall, since.boot, since.since_boot, float(secret.lasts_s))
        with self._step():
            self._run(
                "INSERT INTO secrets (digest, kind, wall, boot, since_boot, lasts_s, body) VALUES (?, ?, ?, ?, ?, ?, ?)",
                *(*place, self._seal.sealed(secret.body, "secret", *place)),
            )
            self._run(
                "DELETE FROM secrets WHERE kind = ?1 AND seq <="
                " (SELECT seq FROM secrets WHERE kind = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
                *(secret.kind, MAX_SECRETS_OF_KIND),
            )

    def take_secret(self, digest: str, kind: str, now: Moment) -> bytes | None:
        """See `Store.take_secret`.  One of another kind is left where it is."""
        with self._step():
            row = self._run(
                "DELETE FROM secrets WHERE digest = ? AND kind = ?"
                " RETURNING digest, kind, wall, boot, since_boot, lasts_s, body",
                *(digest, kind),
            ).fetchone()
        if row is None or Deadline(Moment(*row[2:5]), row[5]).passed(now):
            return None
        try:
            return self._seal.opened(row[6], "secret", *row[:6])
        except Unreadable:
            return None

    def put_notices(self, notices: Sequence[Notice]) -> None:
        """See `Store.put_notices`.  One that is kept already stays as it is; of more than 50 000 the oldest goes."""
        with self._step():
            for each in notices:
                body = self._seal.sealed(each.body, "notice", each.id, each.target)
                self._run(
                    "INSERT INTO notices (id, target, due, tries, body) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                    *(each.id, each.target, each.due, each.tries, body),
                )
            self._run(
                "DELETE FROM notices WHERE seq <= (SELECT seq FROM notices ORDER BY seq DESC LIMIT 1 OFFSET ?)",
                MAX_NOTICES,
            )

    def notices_due(self, now: float, limit: int) -> tuple[Notice, ...]:
        """See `Store.notices_due`.  One that cannot be read is dropped."""
        found: list[Notice] = []
        with self._step():
            rows = self._run(
                "SELECT id, target, body, due, tries FROM notices WHERE due <= ? ORDER BY due, seq LIMIT ?", now, limit
            ).fetchall()
            for id_, target, body, due, tries in rows:
                try:
                    found.append(Notice(id_, target, self._seal.opened(body, "notice", id_, target), due, tries))
                except Unreadable:
                    self.drop_notice(id_)
        return tuple(found)

    def keep_notice(self, notice: Notice) -> None:
        """See `Store.keep_notice`.  One that was dropped stays so."""
        with self._step():
            self._run("UPDATE notices SET due = ?, tries = ? WHERE id = ?", notice.due, notice.tries, notice.id)

    def drop_notice(self, id_: str) -> None:
        """See `Store.drop_notice`."""
        with self._step():
            self._run("DELETE FROM notices WHERE id = ?", id_)

    def _forget_short_lived(self, now: Moment) -> None:
        """What began later than now began before the clock was set back: how old it is cannot be told."""
        soon = now.wall + STEP_S
        self._run("DELETE FROM sessions WHERE last < ? OR last > ?", now.wall - SESSION_S, soon)
        self._run("DELETE FROM secrets WHERE wall + lasts_s < ? OR wall > ?", now.wall, soon)
