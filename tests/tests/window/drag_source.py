"""A window that offers a file to be dragged: `drag_source.py PATH X Y` shows it at X, Y and prints "ready".

When the drag is over, and whoever got the file has it, prints "ended". Gives up after a minute.
"""

import sys
from pathlib import Path

import gi

gi.require_version("Gdk", "3.0")
gi.require_version("Gtk", "3.0")
from gi.repository import Gdk, GLib, Gtk  # noqa: E402

path, x, y = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
window = Gtk.Window(title="drag source")
window.set_decorated(False)
window.set_default_size(160, 80)
handle = Gtk.EventBox()
handle.add(Gtk.Label(label="drag me"))
handle.drag_source_set(
    Gdk.ModifierType.BUTTON1_MASK,
    [Gtk.TargetEntry.new("text/uri-list", 0, 0)],
    Gdk.DragAction.COPY,
)
handle.connect(
    "drag-data-get",
    lambda _widget, _context, data, _info, _time: data.set_uris([Path(path).as_uri()]),
)
handle.connect("drag-end", lambda _widget, _context: print("ended", flush=True))
window.add(handle)
window.connect("destroy", Gtk.main_quit)
window.show_all()
window.move(x, y)
GLib.timeout_add(500, lambda: print("ready", flush=True))
GLib.timeout_add_seconds(60, Gtk.main_quit)
Gtk.main()
