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

"""Loading of models on a separate thread, with a time limit."""

from __future__ import annotations

from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass, fields
from threading import Thread
import time
from typing import Any

from rclpy.exceptions import InvalidHandle
from rclpy.node import Node
from sync_perception.files.trust import code_allowed
from sync_perception.resources import model_source
from sync_perception.ros.core.executor import Turn
from sync_perception.ros.health.consistency_monitor import ConsistencyMonitor
from sync_perception.ros.parameters.perception import PerceptionParameters

Load = Callable[[PerceptionParameters], Any]


def load_predictor(parameters: PerceptionParameters):
    """
    Return the predictor for the model in the parameters.

    :raises ValueError: if the folder, the device or a value is invalid.
    """
    # importing torch takes seconds; only loading needs it
    from sync_perception.runtime.predictor import Predictor
    with code_allowed(parameters.allow_code):
        return Predictor(
            model_source(parameters.model), device=parameters.device,
            half=parameters.half, max_depth=parameters.max_depth or None,
            backend=parameters.backend, precision=parameters.precision)


def load_monitor(parameters: PerceptionParameters) -> ConsistencyMonitor | None:
    """
    Return the monitor with the contrastive model in the parameters, or None without one.

    :raises ValueError: if there is no such model.
    """
    if not parameters.consistency_model:
        return None
    # importing torch takes seconds; only loading needs it
    from sync_perception.runtime.consistency import ConsistencyScorer
    return ConsistencyMonitor(ConsistencyScorer(parameters.consistency_model, parameters.device))


@dataclass(frozen=True, eq=False)
class Loading:
    """
    Model that is being loaded, or was loaded.

    :param load: function that loads it.
    :param values: parameters with which it is loaded.
    :param outcome: future of the model or the error.
    """

    load: Load
    values: PerceptionParameters
    outcome: futures.Future

    def is_of(self, load: Load, values: PerceptionParameters) -> bool:
        """Return whether the same model would be loaded; live parameters are ignored."""
        return load == self.load and all(
            getattr(values, spec.name) == getattr(self.values, spec.name)
            for spec in fields(values) if not spec.metadata['live'])

    def __str__(self) -> str:
        """Return the names of the model and the device."""
        return f'{model_source(self.values.model)} on {self.values.device}'


class ModelLoader:
    """
    Loader of one model at a time on a separate thread.

    A thread that exceeds the parameter `load_timeout` is abandoned, since Python cannot end it.

    :param node: node whose logger is used, and whose executor is woken at the end.
    :ivar loading: model that is being loaded, or None.
    """

    def __init__(self, node: Node):
        self.logger = node.get_logger()
        self.loading: Loading | None = None
        self.loaded: Loading | None = None
        self.done = node.create_guard_condition(lambda: None)

    async def prepare(self, load: Load, values: PerceptionParameters) -> None:
        """
        Load a model for `take`, without blocking the executor; errors are raised by `take`.

        :raises ValueError: if another model is still being loaded.
        """
        if self.loading is not None:
            raise ValueError(f'{self.loading} is still being loaded: try again when it is done')
        self.loading = self._begin(load, values)
        end = time.monotonic() + values.load_timeout
        while not self.loading.outcome.done() and time.monotonic() < end:
            # resumed whenever the executor has work, at least once a second because of the
            # node's diagnostics timer
            await Turn()
        self.loading, self.loaded = None, self.loading

    def is_stale(self, values: PerceptionParameters) -> bool:
        """Return whether the prepared model does not match these parameters."""
        return self.loaded is not None and not self.loaded.is_of(self.loaded.load, values)

    def take(self, load: Load, values: PerceptionParameters) -> Any:
        """
        Return the model prepared for these parameters; if there is none, load it now.

        :raises TimeoutError: if loading exceeds the time limit of the parameters.
        :raises Exception: any error of loading the model.
        """
        loaded, self.loaded = self.loaded, None
        patience = 0.0
        if loaded is None or not loaded.is_of(load, values):
            loaded, patience = self._begin(load, values), values.load_timeout
        try:
            return loaded.outcome.result(patience)
        except futures.TimeoutError:
            if loaded.outcome.done():
                raise  # raised by loading itself
            raise TimeoutError(
                f'loading {loaded} takes longer than the {values.load_timeout:g} s of the '
                'parameter load_timeout') from None

    def _begin(self, load: Load, values: PerceptionParameters) -> Loading:
        loading = Loading(load, values, futures.Future())
        self.logger.info(f'loading {loading}')
        Thread(target=self._run, args=(loading,), name='model loader', daemon=True).start()
        return loading

    def _run(self, loading: Loading) -> None:
        try:
            loading.outcome.set_result(loading.load(loading.values))
        except BaseException as error:  # noqa: BLE001 - raised again by `take`
            loading.outcome.set_exception(error)
        try:
            self.done.trigger()
        except InvalidHandle:
            pass  # the node is gone
