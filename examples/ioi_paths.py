"""How a model does IOI, from the answer backwards, by path patching.

    python examples/ioi_paths.py

Wang et al. 2022 (arXiv:2211.00593) took GPT-2's IOI circuit apart in this order, here on pico:

    1. which heads write to the logits?                          the name movers
    2. what writes to the name movers' queries, keys, values?    what tells them where to look

Every earlier sender is replaced by its value on the corrupted prompt, as far as it reaches the
receivers directly or through MLPs; the effect is the logit difference that is lost.
"""

import circuitkit as ck

N_PAIRS, N_MOVERS, N_SHOWN = 40, 2, 3


def effects_on(
    model: ck.SubjectModel, pairs: ck.PromptPairs, metric: ck.Metric, receivers: tuple[str, ...]
) -> dict[str, ck.Estimate]:
    """Return the effect of every head and MLP that comes before all of the receivers."""
    graph = model.graph
    columns = [graph.receivers.index(name) for name in receivers]
    feeds = graph.edge_mask[:, columns].all(1).tolist()
    senders = [name for name, reaches in zip(graph.senders, feeds, strict=True) if reaches][1:]
    paths = [ck.PatchedPath((sender,), receivers) for sender in senders]
    found = ck.patch_paths(model, pairs, paths, metric, ck.all_positions(pairs)).effects[:, 0]
    return {
        sender: ck.mean_estimate(per_pair)
        for sender, per_pair in zip(senders, found.numpy(), strict=True)
    }


def show(question: str, effects: dict[str, ck.Estimate]) -> list[str]:
    """Print the largest effects and return their senders, largest first."""
    ranked = sorted(effects, key=lambda sender: -effects[sender].value)
    print(question)
    for sender in ranked[:N_SHOWN]:
        print(f"    {sender}  {effects[sender]} logits")
    return ranked


def main() -> None:
    """Ask both questions of pico."""
    task, model = ck.find_task("ioi"), ck.load_model("pico")
    pairs = ck.sample_splits(task, model.tokenizer, n=N_PAIRS, seed=0).discovery
    print(f"{N_PAIRS} pairs as: {pairs.pairs[0].clean}\n")
    ranked = show("What writes to the logits?", effects_on(model, pairs, task.metric, ("logits",)))
    movers = [sender for sender in ranked if ".h" in sender][:N_MOVERS]
    for read, word in (("q", "queries"), ("k", "keys"), ("v", "values")):
        receivers = tuple(f"{head}<{read}>" for head in movers)
        effects = effects_on(model, pairs, task.metric, receivers)
        show(f"\nWhat writes to the {word} of {' and '.join(movers)}?", effects)


if __name__ == "__main__":
    main()
