"""An RTSP server of GStreamer that serves a tone: server.py ADDRESS"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer

Gst.init(None)
factory = GstRtspServer.RTSPMediaFactory.new()
factory.set_launch("( audiotestsrc is-live=true ! mulawenc ! rtppcmupay name=pay0 pt=0 )")
server = GstRtspServer.RTSPServer.new()
server.set_address(sys.argv[1])
server.set_service("554")
server.get_mount_points().add_factory("/tone", factory)
server.attach(None)
GLib.MainLoop().run()
