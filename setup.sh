#!/usr/bin/env bash
# Set up the virtual environment. The Makefile calls it: setup.sh PYTHON VENV EXTRAS [ROS_DISTRO]
#
# What Debian or Ubuntu lacks comes through apt, with sudo where needed. Where a ROS 2 is sourced,
# the environment sees its Python packages and keeps the NumPy 1 that they were built against.
set -euo pipefail
venv=$2 extras=$3 ros=${4:-}

say() { printf '== %s\n' "$*"; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

apt_install() {
  if ! command -v apt-get >/dev/null || { [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; }
  then
    echo "This machine lacks (Debian's names) $*: install them, then try again." >&2
    exit 1
  fi
  say "Installing through apt: $*"
  as_root apt-get update -q
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends "$@"
}

suits() {  # a Python that the wheels exist for, and that imports the sourced ROS 2
  "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null &&
    { [ -z "$ros" ] || "$1" -c 'import rclpy' 2>/dev/null; }
}

find_python() {
  local candidate
  for candidate in "$1" /usr/bin/python3 python3.12 python3.11 python3.10; do
    if suits "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

command -v "$1" >/dev/null || apt_install python3 python3-venv
if ! python=$(find_python "$1"); then
  echo "No Python from 3.10 to 3.12${ros:+ that imports rclpy of the sourced ROS 2 ($ros)} was" \
    "found. Install one and name it: make PYTHON=/path/to/python ..." >&2
  exit 1
fi
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')

missing=()
"$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=("python$version-venv")
libraries=$(/sbin/ldconfig -p)
while read -r library package; do
  grep -q "$library" <<< "$libraries" || missing+=("$package")
done <<'LIBRARIES'
libEGL.so.1 libegl1
libGL.so.1 libgl1
libX11.so.6 libx11-6
libgomp.so.1 libgomp1
libudev.so.1 libudev1
libusb-1.0.so.0 libusb-1.0-0
LIBRARIES
# xmllint only serves one test, which is skipped without it: not worth asking for a password
if [[ $extras == *test* ]] && [ "$(id -u)" = 0 ] && ! command -v xmllint >/dev/null; then
  missing+=(libxml2-utils)
fi
[ ${#missing[@]} = 0 ] || apt_install "${missing[@]}"

if [ "$("$venv/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" \
    != "$version" ]; then
  rm -rf "$venv"
fi
say "Setting up $venv with Python $version and ${ros:+the sourced }ROS 2 ${ros:-Jazzy as wheels}"
"$python" -m venv ${ros:+--system-site-packages} "$venv"
constraints=$venv/constraints.txt
if [ -n "$ros" ]; then
  grep -vE '^(numpy|opencv-python-headless|pytest) ' constraints.txt > "$constraints"
  printf '%s\n' 'numpy <2' 'opencv-python-headless <4.12' 'pytest <8' >> "$constraints"
else
  cp constraints.txt "$constraints"
fi
pip=("$venv/bin/python" -m pip --disable-pip-version-check)
"${pip[@]}" install -q -c "$constraints" --upgrade pip setuptools wheel
"${pip[@]}" install -c "$constraints" --no-build-isolation -e ".[$extras]"
