"""Has names on the session bus for which nobody answers: python3 hung_services.py NAME…

Says `ready` and stops itself, as a program that hangs: the bus takes what is sent to it, and nothing comes back.
"""

import os
import signal
import sys

import gi

gi.require_version("Gio", "2.0")
from gi.repository import Gio, GLib  # noqa: E402

DO_NOT_QUEUE = 4

bus = Gio.bus_get_sync(Gio.BusType.SESSION)
for name in sys.argv[1:]:
    bus.call_sync(
        "org.freedesktop.DBus",
        "/org/freedesktop/DBus",
        "org.freedesktop.DBus",
        "RequestName",
        GLib.Variant("(su)", (name, DO_NOT_QUEUE)),
        None,
        Gio.DBusCallFlags.NONE,
        -1,
        None,
    )
print("ready", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
