"""The order in which scheduling, the device and the results of a serving loop go.

Before step i is scheduled, the host waits for the results of step i - 2, while step i - 1 runs. Those left the device
on a stream of their own, with an event after them; the wait for that event is the one wait that the loop asks for.
vLLM's asynchronous scheduling does the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from syncwatch_kernels.gdn import upload

from syncwatch import annotate
from syncwatch_scenarios.serving.metrics import Delivery
from syncwatch_scenarios.serving.scheduler import Emission, Request, ScheduledStep, Scheduler, StepKind
from syncwatch_scenarios.spec_decode.inputs import InputBuilder, RequestTables, StepInputs, draw_block_tables
from syncwatch_scenarios.spec_decode.metadata import GdnMetadata, build_gdn_metadata
from syncwatch_scenarios.spec_decode.model import GROUPS, SpecDecodeModel
from syncwatch_scenarios.spec_decode.presets import ServingShape
from syncwatch_scenarios.spec_decode.sampling import Outcome, sample

_IN_FLIGHT = 1
"""Steps that may run while another is scheduled."""


@dataclass(frozen=True, slots=True)
class StepOutput:
    """What a step computed, on the device."""

    step: ScheduledStep
    hidden: torch.Tensor
    """bfloat16 [R, hidden], of the sampled tokens."""
    emitted: torch.Tensor
    """int64 [N, drafts + 2]: how many tokens of each row stand, the drafts that it verified, and the token after."""


@dataclass(frozen=True, slots=True)
class _InFlight:
    output: StepOutput
    """Kept until the copy is done: it is read on another stream than it was allocated for."""
    host: torch.Tensor
    """int64 [N, drafts + 2] in pinned memory."""
    ready: torch.cuda.Event


@dataclass(frozen=True, slots=True)
class _Told:
    """One step whose results the host has."""

    ready: torch.cuda.Event
    emissions: list[Emission]


@dataclass(slots=True)
class Transcript:
    """What happened, step by step; no time is asked for before the end."""

    kinds: list[StepKind] = field(default_factory=list)
    tokens: dict[int, list[int]] = field(default_factory=dict)
    """Output tokens of each request, by number."""
    drafted: int = 0
    accepted: int = 0
    """Drafts that stand, of those `drafted`; of steps whose results are known."""


class ServingLoop:
    """One server, from its first request on.

    Args:
        model: weights, shared between loops.
        shape: the model's, and its limits.
        requests: in the order of their arrival; all are there from the start.
        seed: of the prompts.
        masks_on_device: which form of the metadata builder runs.
    """

    def __init__(
        self,
        model: SpecDecodeModel,
        shape: ServingShape,
        requests: Iterator[Request],
        seed: int,
        *,
        masks_on_device: bool,
    ) -> None:
        device = torch.device("cuda")
        self._model = model
        self._device = device
        self._masks_on_device = masks_on_device
        self._scheduler = Scheduler(shape.limits, requests)
        self._inputs = InputBuilder(shape.vocabulary, shape.drafts, seed, device)
        self.tables = RequestTables.create(shape.model.batch, shape.drafts, device)
        self.block_tables = draw_block_tables(shape.model.batch, shape.drafts, GROUPS)
        self.states = model.create_states()
        self.transcript = Transcript()
        self._results = torch.cuda.Stream()
        self._in_flight: deque[_InFlight] = deque()
        self._told: list[_Told] = []
        self.finished = False
        self._began = torch.cuda.Event(enable_timing=True)
        self._began.record()

    @torch.no_grad()
    def step(self) -> StepOutput | None:
        """Schedule and enqueue the next step; None where every request is done or as good as done."""
        while len(self._in_flight) > _IN_FLIGHT:
            self._take_result()
        step = self._scheduler.schedule()
        while step is None and self._in_flight:
            self._take_result()
            step = self._scheduler.schedule()
        if step is None:
            return None
        with annotate(f"{step.kind.value} step"):
            output = self._enqueue(step)
        self._send_result(output)
        self.transcript.kinds.append(step.kind)
        return output

    def finish(self) -> None:
        """Wait for the results of every step. None may follow: its schedule would know more than it should."""
        self.finished = True
        while self._in_flight:
            self._take_result()

    def deliveries(self) -> list[Delivery]:
        """Return what the host got and when: as the copy of a step's results was done, by the device's clock."""
        return [
            Delivery(emission.request.number, emission.tokens, self._began.elapsed_time(told.ready), emission.last)
            for told in self._told
            for emission in told.emissions
        ]

    def _enqueue(self, step: ScheduledStep) -> StepOutput:
        with annotate("prepare inputs"):
            inputs = self._inputs.build(step, self.tables)
            ids = inputs.token_ids(self.tables)
        with annotate("build metadata"):
            metadata = self._build_metadata(step, inputs)
        layout = inputs.layout
        hidden = self._model.forward(ids, inputs, metadata, self.states).index_select(0, layout.tokens)
        with annotate("sample"):
            drafts = self.tables.tokens.index_select(0, inputs.seats)[:, 1:]
            probabilities = self._model.probabilities(hidden, ids.index_select(0, layout.tokens))
            positions = self.tables.outputs_before(inputs)
            outcome = sample(probabilities, drafts, positions, layout, self._model.noise)
        with annotate("draft"):
            proposed = self._model.draft(hidden.index_select(0, outcome.last), outcome.next_tokens, inputs)
            self.tables.update(inputs, outcome, proposed)
        return StepOutput(step, hidden, _emitted(outcome, drafts))

    def _build_metadata(self, step: ScheduledStep, inputs: StepInputs) -> list[GdnMetadata]:
        """Build the metadata once for each KV-cache group, as vLLM 0.18 to 0.21 do."""
        seats = [*(row.seat for row in step.rows), *([0] * step.padding)]
        tables = (upload(table[seats], self._device) for table in self.block_tables)
        return [build_gdn_metadata(inputs.common, each, masks_on_device=self._masks_on_device) for each in tables]

    def _send_result(self, output: StepOutput) -> None:
        self._results.wait_stream(torch.cuda.current_stream())
        ready = torch.cuda.Event(enable_timing=True)
        with torch.cuda.stream(self._results):
            host = output.emitted.to("cpu", non_blocking=True)
            ready.record()
        self._in_flight.append(_InFlight(output, host, ready))

    def _take_result(self) -> None:
        flight = self._in_flight.popleft()
        flight.ready.synchronize()
        step, result = flight.output.step, flight.host.tolist()
        emissions = self._scheduler.accept(step, [row[0] for row in result])
        self._told.append(_Told(flight.ready, emissions))
        self._note(step, result, emissions)

    def _note(self, step: ScheduledStep, result: list[list[int]], emissions: list[Emission]) -> None:
        """Write down the tokens, as a server would detokenize them."""
        transcript = self.transcript
        emitted = {emission.request.number: emission.tokens for emission in emissions}
        for row, (count, *tokens) in zip(step.rows, result, strict=True):
            transcript.drafted += row.drafts
            transcript.accepted += count - 1
            if row.request.number in emitted:
                stand = [*tokens[: count - 1], tokens[-1]][: emitted[row.request.number]]
                transcript.tokens.setdefault(row.request.number, []).extend(stand)


def _emitted(outcome: Outcome, drafts: torch.Tensor) -> torch.Tensor:
    return torch.cat((outcome.num_accepted[:, None], drafts, outcome.next_tokens[:, None]), dim=1)
