"""A desktop's panel, as far as tray icons and notices go.

Says a line for every icon (`icon`) and notice (`notice TITLE`). A line `click WORDS` on its input chooses that entry of
the icon's menu.
"""

import sys

import gi

gi.require_version("Gio", "2.0")
from gi.repository import Gio, GLib  # noqa: E402

WATCHER = "org.kde.StatusNotifierWatcher"
NOTICES = "org.freedesktop.Notifications"
XML = f"""
<node>
  <interface name="{WATCHER}">
    <method name="RegisterStatusNotifierItem"><arg type="s" direction="in"/></method>
    <property name="IsStatusNotifierHostRegistered" type="b" access="read"/>
    <property name="RegisteredStatusNotifierItems" type="as" access="read"/>
    <property name="ProtocolVersion" type="i" access="read"/>
  </interface>
  <interface name="{NOTICES}">
    <method name="Notify">
      <arg type="s" direction="in"/><arg type="u" direction="in"/><arg type="s" direction="in"/>
      <arg type="s" direction="in"/><arg type="s" direction="in"/><arg type="as" direction="in"/>
      <arg type="a{{sv}}" direction="in"/><arg type="i" direction="in"/><arg type="u" direction="out"/>
    </method>
    <method name="GetCapabilities"><arg type="as" direction="out"/></method>
    <method name="GetServerInformation">
      <arg type="s" direction="out"/><arg type="s" direction="out"/>
      <arg type="s" direction="out"/><arg type="s" direction="out"/>
    </method>
  </interface>
</node>"""

answers = {
    "Notify": GLib.Variant("(u)", (1,)),
    "GetCapabilities": GLib.Variant("(as)", (["body"],)),
    "GetServerInformation": GLib.Variant("(ssss)", ("panel", "Ferry's tests", "1", "1.2")),
}
icon = None


def say(line):
    print(line, flush=True)


def called(_bus, sender, _path, _interface, method, arguments, invocation):
    global icon
    if method == "RegisterStatusNotifierItem":
        icon = (sender, arguments.unpack()[0])
        say("icon")
    elif method == "Notify":
        say(f"notice {arguments.unpack()[3]}")
    invocation.return_value(answers.get(method))


def asked(_bus, _sender, _path, _interface, name):
    return {
        "IsStatusNotifierHostRegistered": GLib.Variant("b", True),
        "RegisteredStatusNotifierItems": GLib.Variant("as", []),
        "ProtocolVersion": GLib.Variant("i", 0),
    }[name]


def menu(method, arguments):
    sender, path = icon
    return bus.call_sync(
        sender, f"{path}/Menu", "com.canonical.dbusmenu", method, arguments, None, Gio.DBusCallFlags.NONE, 5000
    ).unpack()


def click(words):
    _, (_, _, entries) = menu("GetLayout", GLib.Variant("(iias)", (0, -1, ["label"])))
    labels = {entry[1].get("label", "").replace("_", ""): entry[0] for entry in entries}
    menu("Event", GLib.Variant("(isvu)", (labels[words], "clicked", GLib.Variant("i", 0), 0)))


def heard(channel, _condition):
    line = channel.readline().strip()
    if not line:
        return False
    click(line.removeprefix("click "))
    return True


bus = Gio.bus_get_sync(Gio.BusType.SESSION)
node = Gio.DBusNodeInfo.new_for_xml(XML)
for name, path in [(NOTICES, "/org/freedesktop/Notifications"), (WATCHER, "/StatusNotifierWatcher")]:
    bus.register_object(path, node.lookup_interface(name), called, asked, None)
ready = lambda _bus, name: say(f"owns {name}")  # noqa: E731
Gio.bus_own_name_on_connection(bus, NOTICES, Gio.BusNameOwnerFlags.NONE, ready, None)
Gio.bus_own_name_on_connection(bus, WATCHER, Gio.BusNameOwnerFlags.NONE, ready, None)
GLib.io_add_watch(sys.stdin, GLib.PRIORITY_DEFAULT, GLib.IO_IN | GLib.IO_HUP, heard)
GLib.MainLoop().run()
