"""The states of a job: the table, and any walk through it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from qpu_backend.domain.errors import IllegalTransition
from qpu_backend.domain.jobs import TRANSITIONS, JobState, Transition, advance
from qpu_sdk.wire import models


def test_the_states_are_those_of_the_wire():
    assert {state.value for state in JobState} == {state.value for state in models.JobState}
    assert all(state.final == models.JobState(state.value).final for state in JobState)


def test_every_state_can_be_reached_and_every_transition_is_used():
    assert set(TRANSITIONS.values()) | {JobState.QUEUED} == set(JobState)
    assert {transition for _, transition in TRANSITIONS} == set(Transition)


@given(st.sampled_from(JobState), st.sampled_from(Transition))
def test_what_the_table_does_not_allow_is_refused_with_both_names(state: JobState, transition: Transition):
    if (state, transition) in TRANSITIONS:
        assert advance(state, transition) is TRANSITIONS[state, transition]
    else:
        with pytest.raises(IllegalTransition, match=f"{state.value}.*{transition.value}") as refusal:
            advance(state, transition)
        assert (refusal.value.state, refusal.value.asked) == (state.value, transition.value)


@pytest.mark.parametrize("state", [state for state in JobState if state.final])
def test_a_final_job_never_changes(state: JobState):
    assert not [key for key in TRANSITIONS if key[0] is state]


class JobLife(RuleBasedStateMachine):
    """Any order of events: a job ends at most once, and only a running job completes."""

    def __init__(self) -> None:
        super().__init__()
        self.state = JobState.QUEUED
        self.endings = 0

    @rule(transition=st.sampled_from(Transition))
    def happen(self, transition: Transition) -> None:
        before = self.state
        try:
            self.state = advance(before, transition)
        except IllegalTransition:
            assert before.final or transition is not Transition.CANCEL
            return
        assert not before.final
        assert self.state is not before
        assert (self.state is JobState.DONE) <= (before is JobState.RUNNING)
        self.endings += self.state.final

    @invariant()
    def ends_at_most_once(self) -> None:
        assert self.endings == int(self.state.final)


test_any_life_of_a_job_ends_at_most_once = JobLife.TestCase
