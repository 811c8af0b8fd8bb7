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


"""One file a data set, one sample contract."""

from __future__ import annotations

from sync_perception.training.data.camvid import CamVid
from sync_perception.training.data.cityscapes import Cityscapes
from sync_perception.training.data.idd_lite import IddLite
from sync_perception.training.data.kitti import KittiRaw
from sync_perception.training.data.kitti_depth import KittiDepthSelection
from sync_perception.training.data.kitti_semantics import KittiSemantics
from sync_perception.training.data.nyuv2 import NyuDepthV2
from sync_perception.training.data.sample import DenseDataset
from sync_perception.training.data.sevenscenes import SevenScenes
from sync_perception.training.data.vkitti2 import VirtualKitti2

DATASETS: dict[str, type[DenseDataset]] = {
    'camvid': CamVid,
    'idd_lite': IddLite,
    'kitti': KittiRaw,
    'kitti_depth': KittiDepthSelection,
    'kitti_semantics': KittiSemantics,
    'vkitti2': VirtualKitti2,
    'cityscapes': Cityscapes,
    'nyuv2': NyuDepthV2,
    'sevenscenes': SevenScenes,
}
