"""A small window to let files go on, as a file manager would be: drop_target.py X Y FILE. Writes their addresses to FILE."""

import sys

import gi

gi.require_version("Gdk", "3.0")
gi.require_version("Gtk", "3.0")
from gi.repository import Gdk, Gtk  # noqa: E402

x, y, file = sys.argv[1:]


def received(_target, _drag, _x, _y, data, _info, _time):
    with open(file, "w", encoding="utf-8") as taken:
        taken.write("\n".join(data.get_uris() or []))


window = Gtk.Window(type=Gtk.WindowType.POPUP)
window.set_default_size(80, 80)
window.move(int(x), int(y))
target = Gtk.EventBox()
target.add(Gtk.Label(label="here"))
target.drag_dest_set(Gtk.DestDefaults.ALL, [], Gdk.DragAction.COPY)
target.drag_dest_add_uri_targets()
target.connect("drag-data-received", received)
window.add(target)
window.show_all()
print("ready", flush=True)
Gtk.main()
