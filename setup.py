# Copyright 2026 The sync_perception Authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.


"""Install sync_perception with pip or with colcon."""

from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = 'sync_perception'
ROOT = Path(__file__).resolve().parent
BAGS = ['rosbags']
BENCH = ['psutil']
EXPORT = ['onnx', 'onnxruntime', 'onnxscript']
OPENVINO = ['openvino']
QUANTISE = [*OPENVINO, 'nncf']


def shared_files() -> list[tuple[str, list[str]]]:
    """Pair each installed folder under share/ with its files, as setuptools wants data_files."""
    folders = {f'share/{PACKAGE}': ['package.xml']}
    for top in ('config', 'launch'):
        for path in sorted((ROOT / top).rglob('*')):
            if path.is_file() and '__pycache__' not in path.parts:
                relative = path.relative_to(ROOT)
                folders.setdefault(f'share/{PACKAGE}/{relative.parent}', []).append(str(relative))
    return list(folders.items())


setup(
    name=PACKAGE,
    version='0.1.0',
    description='Metric depth, semantic labels and a semantic point cloud from each camera frame',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author='The sync_perception Authors',
    maintainer='The sync_perception Authors',
    maintainer_email='sync-perception@example.org',
    license='Apache-2.0',
    packages=find_packages(exclude=['test', 'test.*', 'benchmarks', 'benchmarks.*']),
    package_data={PACKAGE: [
        'weights/*/*', 'models/catalogue/*.json', 'evaluation/html_report/*.html',
        'studies/selection/*.html']},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{PACKAGE}']),
        *shared_files(),
    ],
    python_requires='>=3.10',
    install_requires=[
        'huggingface_hub',
        'numpy',
        'opencv-python-headless',  # without libGL, which a server does not have
        'pyyaml',
        'rich',
        'safetensors',
        'simplejpeg',  # as fast as OpenCV, and refuses damaged files
        'torch>=2.5',
        'torchmetrics',  # evaluate; the node does not import it
        'typer',
    ],
    extras_require={
        # what processes cost, for bench --ros where a ROS 2 installation is sourced
        'bench': BENCH,
        # rosbag2 bags, with or without ROS
        'bags': BAGS,
        # models as ONNX files; to run one, onnxruntime alone will do
        'export': EXPORT,
        # networks on a CPU in less than half of torch's time
        'openvino': OPENVINO,
        # sync_perception quantise
        'quantise': QUANTISE,
        # ROS 2 Jazzy as wheels, for machines without a ROS 2 installation
        'ros': [
            *BAGS,
            *BENCH,
            'ros-rclpy[fastrtps]',
            'ros-diagnostic-msgs',
            'ros-lifecycle-msgs',
            'ros-nav-msgs',
            'ros-rcl-interfaces',
            'ros-rosgraph-msgs',
            'ros-sensor-msgs',
            'ros-std-msgs',
            'ros-std-srvs',
            'ros-visualization-msgs',
        ],
        'synth': ['open3d'],
        'train': [
            'h5py',  # with scipy, for the files that NYU Depth v2 comes in
            'jsonargparse[signatures]',
            'kornia',
            'lightning',
            'matplotlib',
            'scipy',
            'tensorboard',
        ],
        # scipy: without it the library builds neither Mask2Former nor EoMT
        'transformers': ['scipy', 'transformers>=5.20'],
        # recordings of maps, and the viewer: about 340 MB
        'view': ['rerun-sdk'],
        'test': [
            *BENCH,
            *BAGS,
            *EXPORT,
            *QUANTISE,
            'ament-xmllint',
            'catkin-pkg',
            'flake8-blind-except',
            'flake8-builtins',
            'flake8-class-newline',
            'flake8-comprehensions',
            'flake8-deprecated',
            'flake8-docstrings',
            'flake8-import-order',
            'flake8-quotes',
            'h5py',
            'mcap-ros2-support',  # with mcap: reads bags without what wrote them
            'pytest<8',  # what launch_pytest of Jazzy takes
            'pytest-timeout',
            'ros-ament-flake8',
            'ros-ament-lint',
            'ros-ament-pep257',
            'rosbags-image',
            'ruff',
            'scipy',
            'transformers',
        ],
    },
    entry_points={
        'console_scripts': [
            'sync_perception = sync_perception.cli:main',
            'perception_node = sync_perception.ros.node.perception_node:main',
            'mapping_node = sync_perception.ros.map.mapping_node:main',
            'replay_node = sync_perception.ros.replay.replay_node:main',
        ],
    },
    zip_safe=False,
)
