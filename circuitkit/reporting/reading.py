"""How to read a report: a few sentences for each part of it."""

READING = {
    "story": (
        "A column is a token of the prompt, and time goes down it. A box is a part of the circuit "
        "where it acts; an arrow comes from where it looks, as wide as its attention. Broken "
        "lines work against the answer."
    ),
    "no_caveat": "No caveat was found among what was measured.",
    "parts": (
        "One row for each part, the largest first; a name opens its card. What does nothing alone "
        "may be needed jointly, where nothing else of the model stands in for it."
    ),
    "verdict": (
        "A check is supported if its whole 95 % interval is on the right side of the threshold, "
        "refuted if the whole interval is on the wrong side, else undecided. One refuted check "
        "refutes the circuit; all must be supported to support it. The thresholds were fixed "
        "before anything was measured."
    ),
    "questions": (
        "Each question is answered by the checks beside it: refuted if one is, supported if all "
        "that have a threshold are. Checks that are one measurement in several dresses are named "
        "under “the same measurement”, and are no evidence of their own."
    ),
    "question": (
        "A circuit is only worth drawing of something the model can do: the gap between clean and "
        "corrupted prompts must be clear of 0. Brackets hold 95 % bootstrap intervals over pairs."
    ),
    "circuit": (
        "A positive score means the edge supports the behaviour, a negative one (dashed) that it "
        "works against it. Colour says which input of the receiver an edge feeds."
    ),
    "patching": (
        "Each cell is a measured effect of replacing the activation in one place, as a mean over "
        "pairs. Positive supports the behaviour."
    ),
    "faithfulness": (
        "1 is the whole model, 0 the empty circuit with all else ablated; values above 1 or below "
        "0 can happen. Random circuits of the same size show what chance would give."
    ),
    "edges": (
        "The edges with the largest |score| of all in the graph. A score is the method's estimate; "
        "positive supports the behaviour. A high edge may be outside the circuit if it was a dead "
        "end."
    ),
    "samples": (
        "What differs between the two prompts is marked. ␣ is a space that belongs to a token; "
        "percentages are the model's probabilities on the clean prompt."
    ),
    "ablations": (
        "m is the mean metric over pairs; faithfulness is (m(circuit) - m(empty)) / (m(model) - "
        "m(empty)). A claim that holds under one ablation only is weak."
    ),
    "cards": (
        "One card for each component. A role is claimed if its score is above chance on the same "
        "prompts, corrected for all roles and components that were tried. Effects are positive "
        "where the part supports the behaviour; brackets hold 95 % intervals over pairs."
    ),
    "notes": "What was left out, and why.",
    "provenance": "What was run, and how it was made.",
    "choices": "How the circuit is found was chosen by its discovery pairs alone:",
    "from_python": "Made by a call from Python: no command was typed that gives it again.",
}
