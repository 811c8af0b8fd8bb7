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

"""Schedule of a replay from recording times, robust against jumps of the recorder's clock."""

from __future__ import annotations

from collections.abc import Callable

from sync_perception.images.frame_times import SECOND
from sync_perception.ros.replay.shot import Shot

# Seconds between two frames. A longer interval means that the clock was set, as when a robot
# reaches its time server; a real pause of that length is shortened, too
LONGEST_PAUSE = 60.0
WAITING = 5.0  # seconds until a frame, from which on the user is notified


class Schedule:
    """
    Conversion of recording times to replay times.

    If the recording clock jumps forwards or backwards, the replay continues with the previous
    interval between frames. Frames with equal recording times, as from a recorder without a clock,
    are spaced by their stamps, or at the replay's rate.

    :param speed: replay speed relative to the recording.
    :param period: nanoseconds between frames without usable times.
    :param report: receives the kind of a problem and a line for the user.
    """

    def __init__(self, speed: float, period: int, report: Callable[[str, str], None]):
        self.speed = speed
        self.spacing = period
        self.report = report
        self.before: Shot | None = None
        self.anchor = 0  # recording time that corresponds to the start of the replay
        self.due = 0  # of the previous frame, nanoseconds of the recording since the start

    def seconds(self, shot: Shot) -> float:
        """
        Return when the next frame is due, in seconds since the first one.

        :param shot: the next frame in order, with a recording time.
        """
        before, self.before = self.before, shot
        if before is None:
            self.anchor = shot.recorded
            return 0.0
        gap, stamped = shot.recorded - before.recorded, shot.stamp - before.stamp
        if 0 < gap <= LONGEST_PAUSE * SECOND:
            self.spacing = gap
            due = max(shot.recorded - self.anchor, self.due)
        else:
            if 0 < stamped <= LONGEST_PAUSE * SECOND:
                self.spacing = stamped
            due = self.due + self.spacing
            if gap:
                self.anchor = shot.recorded - due
                self.report('clock', (
                    f"the recording's clock goes from {before.recorded / SECOND:.3f} s to "
                    f'{shot.recorded / SECOND:.3f} s between two frames, expected at most '
                    f'{LONGEST_PAUSE:g} s: they are played {self.spacing / SECOND:.3g} s '
                    'apart'))
        if stamped <= 0:
            self.report('stamps', (
                f'the stamps of two frames go from {before.stamp} ns to {shot.stamp} ns, expected '
                'rising ones: set the parameter stamps to now'))
        seconds = (due - self.due) / SECOND / self.speed
        if seconds > WAITING:
            self.report('pause', f'the next frame is due in {seconds:.1f} s, as recorded')
        self.due = due
        return due / SECOND / self.speed
