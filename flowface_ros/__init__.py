"""3D head tracking from calibrated cameras for ROS 2, after FlowFace (arXiv 2404.09819)."""

from pkgutil import extend_path

# flowface_ros.msg is generated into the installed package, which the source tree would hide.
__path__ = extend_path(__path__, __name__)
__version__ = "0.1.0"
