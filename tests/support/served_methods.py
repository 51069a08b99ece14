"""Which methods the gate serves, by era, as the issue that asked for it says: whatever is not here is refused."""

from callgate.wire.methods import Era

FORWARDED = {
    (Era.LEGACY, "initialize"),
    (Era.LEGACY, "notifications/initialized"),
    (Era.LEGACY, "ping"),
    (Era.LEGACY, "tools/list"),
    (Era.LEGACY, "tools/call"),
    (Era.MODERN, "server/discover"),
    (Era.MODERN, "tools/list"),
    (Era.MODERN, "tools/call"),
}
# Taken, so that clients do not give up, and never sent on.
ABSORBED = {
    (Era.LEGACY, "notifications/cancelled"),
    (Era.LEGACY, "notifications/progress"),
    (Era.LEGACY, "notifications/roots/list_changed"),
    (Era.MODERN, "notifications/cancelled"),
}
