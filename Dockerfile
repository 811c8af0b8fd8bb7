# The node on a ROS 2 image, for those who do not want to install it.
#
#   docker build -t sync_perception .
#   docker run --rm --net=host --ipc=host --gpus all sync_perception
#   docker run --rm --net=host --ipc=host sync_perception \
#       ros2 launch sync_perception camera.launch.py image_topic:=/camera/image_rect device:=cpu
#
# --net and --ipc let its topics reach other processes of this machine, through shared memory.
ARG ROS_DISTRO=jazzy
FROM ros:${ROS_DISTRO}

# Where torch comes from: an index of wheels, such as the one for CPUs alone or for one version of
# CUDA that PyTorch's page on installing it names; empty for the usual one, with CUDA.
ARG TORCH_INDEX=
# Further parts of setup.py's extras_require, with commas: export runs .onnx models, transformers
# runs pairs of pretrained models.
ARG EXTRAS=bags,openvino

SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /ws

# What ROS has of it. Python's libraries come through pip below: Ubuntu's torch is too old. RViz
# runs on the other side of the network.
COPY package.xml src/sync_perception/
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-colcon-common-extensions python3-venv \
    && rosdep update --rosdistro "$ROS_DISTRO" \
    && rosdep install -y --from-paths src --rosdistro "$ROS_DISTRO" --dependency-types exec \
        --skip-keys "rviz2 $(sed -n 's:.*<exec_depend>\(python3-[^<]*\)<.*:\1:p' \
            src/sync_perception/package.xml | tr '\n' ' ')" \
    && rm -rf /var/lib/apt/lists/*

# An environment that sees ROS's Python packages and keeps the NumPy 1 that they were built with.
# The package itself is installed only to bring its dependencies; colcon builds it afterwards.
COPY setup.py setup.cfg constraints.txt README.md src/sync_perception/
COPY resource src/sync_perception/resource
RUN python3 -m venv --system-site-packages /opt/venv \
    && { grep -vE '^(numpy|opencv-python-headless|pytest) ' src/sync_perception/constraints.txt; \
         printf '%s\n' 'numpy <2' 'opencv-python-headless <4.12'; } > /opt/venv/constraints.txt \
    && export PIP_CONSTRAINT=/opt/venv/constraints.txt \
    && /opt/venv/bin/pip install --upgrade pip setuptools wheel \
    && /opt/venv/bin/pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch \
    && /opt/venv/bin/pip install --no-build-isolation "./src/sync_perception[$EXTRAS]" \
    && /opt/venv/bin/pip uninstall -y sync_perception

# colcon builds for the Python that runs it
COPY . src/sync_perception
RUN . "/opt/ros/$ROS_DISTRO/setup.bash" \
    && /opt/venv/bin/python "$(command -v colcon)" build --merge-install \
    && . install/setup.bash \
    && /opt/venv/bin/python -c 'import sync_perception.ros.node.node, sync_perception.runtime.predictor' \
    && ros2 launch sync_perception camera.launch.py --show-args > /dev/null

ENV PATH=/opt/venv/bin:$PATH
ENTRYPOINT ["bash", "-c", "source /ws/install/setup.bash && exec \"$@\"", "sync_perception"]
CMD ["ros2", "launch", "sync_perception", "camera.launch.py"]
