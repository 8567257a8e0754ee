"""What each column of a result's table means: its unit, and what its sign says."""

ESTIMATE = {
    "value": "the estimate",
    "low": "lower end of its 95 % interval",
    "high": "upper end of its 95 % interval",
    "n": "pairs or clusters behind it; 1: a count, exact",
}
EDGE = {
    "edge": "name of the edge",
    "sender": "component that writes",
    "receiver": "input that reads",
    "read": "what is read: q, k, v, mlp or logits",
}
SCORE = {"score": "the method's estimate in the metric's unit; positive supports the behaviour"}
NEED = {
    "effect": "size of the mean change that removing it makes, in the metric's unit",
    "needed": "whether it is shown to do more than edges of no interest",
    "idle": "whether it is shown to do less than they",
}
CHECK = {
    "criterion": "name of the criterion",
    "question": "the question that it answers; empty for none",
    **ESTIMATE,
    "p": "p-value of a test; missing where it is none",
    "min": "least value that is asked for; missing where none is",
    "max": "largest value that is asked for; missing where none is",
    "outcome": "supported, refuted, undecided, or reported where nothing is asked",
    "measures": "what the value is, in words",
    "same_as": "criterion of which this is the same measurement; empty for none",
    "note": "for the reader",
}
PAIR = {
    "clean": "clean prompt: text, or token ids",
    "corrupted": "corrupted prompt",
    "answers": "answers expected after the clean prompt",
    "wrong_answers": "answers that they are held against",
    "template": "template; pairs of one have equally many tokens",
    "cluster": "pairs of one cluster are not independent",
    "n_tokens": "real tokens of each prompt",
    "answer_pos": "position, from the left of the padded tensors, where the answer is read",
}
CELL = {
    "row": "name of the row",
    "column": "name of the column",
    "value": "mean effect in the unit; positive supports the behaviour",
    "low": "lower end of its 95 % interval",
    "high": "upper end of its 95 % interval",
}
POINT = {
    "n_edges": "edges of the circuit",
    **ESTIMATE,
    "value": "faithfulness of the selected circuit: 1 is the model, 0 the empty circuit",
    "random_mean": "mean faithfulness of random circuits of this size",
    "random_low": "that of the least faithful of them",
    "random_high": "that of the most faithful of them",
}
QUANTITY = {"quantity": "what was measured", **ESTIMATE, "unit": "unit of value, low and high"}
EFFECT = {
    "row": "place that was patched",
    "column": "role or positions at which",
    "pair": "number of the pair",
    "effect": "effect in the metric's unit; positive supports the behaviour",
}
COMPONENT = {
    "component": "name of the component",
    "group": "group of components that behave alike",
    "roles": "roles that are claimed",
    **ESTIMATE,
    "value": "what the behaviour loses without it, in the metric's unit; positive: it supports",
    "direct": "what it adds to the logits of the answers over the wrong ones, in logits",
    "summary": "what it does, in words",
}
ROLE = {
    "role": "name of the role",
    "kind": "attends (where a head looks) or does (what it is for)",
    **ESTIMATE,
    "unit": "unit of value, low, high and chance",
    "chance": "what chance gives on the same prompts",
    "p": "p-value, corrected for all components and roles that were tried",
    "claimed": "whether the role is claimed",
}
SHARED = {
    "kind": "group, or edges between two groups",
    "name": "group, or sender -> receiver <what is read>",
    "model": "name of the model",
    "components": "components of the group there",
    "share": "largest loss without one of them, or the edges' summed effect, as a share of the gap",
}
ANY_CELL = {
    "table": "title of the table or name of the picture",
    "row": "number of the row, from 0",
    "column": "heading of the column",
    **ESTIMATE,
    "text": "the cell where it is text; else empty",
}
RUN = {
    "task": "name of the task",
    "model": "name of the model",
    "method": "method that scored the edges",
    "ablation": "ablation of the verdict",
    "seed": "seed of all sampling",
    "n_edges": "edges of the circuit",
    "n_edges_in_graph": "edges of the model",
    **ESTIMATE,
    "value": "faithfulness under the verdict's ablation",
    "verdict": "supported, refuted or undecided",
}
