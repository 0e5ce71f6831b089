import contextvars

from tfdefense.networks.surrogates import (
    DeclaredSurrogates,
    choose_surrogate,
    record_surrogates,
    requested_surrogates,
    use_surrogates,
)

ROUNDING = DeclaredSurrogates(("zero", "identity", "smooth"), "identity")


def test_a_step_uses_the_requested_gradient_if_it_declares_it():
    assert choose_surrogate(ROUNDING) == "identity"
    with use_surrogates("smooth"):
        assert choose_surrogate(ROUNDING) == "smooth"
        with use_surrogates("unknown"):
            assert choose_surrogate(ROUNDING) == "identity"
        with use_surrogates("zero", "smooth"):  # For attacks; a step alone cannot choose.
            assert choose_surrogate(ROUNDING) == "identity"
        with use_surrogates():
            assert choose_surrogate(ROUNDING) == "identity"
        assert choose_surrogate(ROUNDING) == "smooth"
    assert requested_surrogates() == ()


def test_steps_with_a_choice_are_recorded_in_their_context_only():
    with use_surrogates("zero"), record_surrogates() as steps:
        assert choose_surrogate(ROUNDING) == "identity"
        with use_surrogates("smooth"):
            choose_surrogate(DeclaredSurrogates(("smooth", "rough"), "smooth"))
        contextvars.Context().run(choose_surrogate, ROUNDING)  # As another thread.
    choose_surrogate(ROUNDING)
    assert steps == [ROUNDING]
