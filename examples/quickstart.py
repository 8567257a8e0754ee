"""The Python API of the README, from a task to a circuit with its faithfulness."""

from pathlib import Path
from tempfile import TemporaryDirectory

import circuitkit as ck


def main() -> None:
    """Find the IOI circuit of pico and print what it keeps of the behaviour."""
    task = ck.find_task("ioi")
    model = ck.load_model("pico")
    splits = ck.sample_splits(task, model.tokenizer, n=50, seed=0)

    scores = ck.score_edges(model, splits.discovery, task.metric)
    circuit = ck.prune_dead_ends(ck.select_top(scores, 40))
    [faithfulness] = ck.measure_faithfulness(
        model,
        splits.validation,
        [circuit],
        ablation=ck.MeanAblation(splits.reference),
        metric=task.metric,
    )
    print(f"{circuit.n_edges} edges, faithfulness {faithfulness.value}")

    graph = circuit.to_networkx()
    print(f"{graph.number_of_nodes()} components, {graph.number_of_edges()} edges")
    with TemporaryDirectory() as directory:
        path = Path(directory) / "circuit.json"
        ck.save_circuit(circuit, path)
        assert ck.load_circuit(path).edges == circuit.edges


if __name__ == "__main__":
    main()
