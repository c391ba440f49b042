"""A small window to drag files out of, as from a file manager: drag_source.py X Y PATH..."""

import pathlib
import sys

import gi

gi.require_version("Gdk", "3.0")
gi.require_version("Gtk", "3.0")
from gi.repository import Gdk, Gtk  # noqa: E402

x, y, *paths = sys.argv[1:]
uris = [pathlib.Path(path).as_uri() for path in paths]

window = Gtk.Window(type=Gtk.WindowType.POPUP)
window.set_default_size(40, 40)
window.move(int(x), int(y))
source = Gtk.EventBox()
source.add(Gtk.Label(label="files"))
source.drag_source_set(Gdk.ModifierType.BUTTON1_MASK, [], Gdk.DragAction.COPY)
source.drag_source_add_uri_targets()
source.connect("drag-data-get", lambda _source, _drag, data, _info, _time: data.set_uris(uris))
window.add(source)
window.show_all()
print("ready", flush=True)
Gtk.main()
