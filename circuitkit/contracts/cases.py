"""What a contract is judged on: its circuit, the pairs and the model, each made once.

What the contract does not say, the circuit file does: task, model, seed, metric and ablation.
"""

import shlex
from dataclasses import dataclass, field, replace

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.file import load_circuit
from circuitkit.contracts.contract import Contract
from circuitkit.contracts.parsing import located_model
from circuitkit.errors import ContractError
from circuitkit.interventions.ablation import require_ablation
from circuitkit.model import SubjectModel
from circuitkit.study.cases import case_of, require_same_tokenizer
from circuitkit.study.request import Overrides, request_for
from circuitkit.study.settings import Settings
from circuitkit.study.subject import Request, Subject, subject_of
from circuitkit.task import installed_names
from circuitkit.validation.case import Case

MOVED_TOKENIZER = "Load that tokenizer, or find the circuit again and commit it."


@dataclass(eq=False)
class ContractCase:
    """A contract with its circuit and what that is judged on. Cases are kept, one an ablation."""

    contract: Contract
    circuit: Circuit
    request: Request
    subject: Subject
    _cases: dict[str, Case] = field(default_factory=dict, repr=False)

    @property
    def settings(self) -> Settings:
        """The settings of its case, under the contract's ablation or else the circuit's own."""
        return Settings(seed=self.request.seed, ablation=self.ablation)

    @property
    def ablation(self) -> str:
        """The ablation of all criteria that do not name their own."""
        own = self.circuit.provenance.recipe.ablation
        return self.contract.ablation or require_ablation(own, f"{self.contract.circuit}: ablation")

    def case(self, ablation: str = "") -> Case:
        """Return the case under an ablation, or under that of the contract.

        Raises:
            CriterionError: a validation prompt is one of those that found the circuit.
            GraphError: the circuit belongs to another architecture.
        """
        name = ablation or self.ablation
        if name not in self._cases:
            settings = replace(self.settings, ablation=name)
            self._cases[name] = case_of(self.subject, self.circuit, settings)
        return self._cases[name]

    @property
    def weights_changed(self) -> bool:
        """Whether the model is known to have other weights than those that held the circuit."""
        origin = self.circuit.provenance.model_digest
        return bool(origin) and not self.subject.model.has_weights(origin)

    def is_own_baseline(self, baseline: Circuit) -> bool:
        """Whether a baseline is the contract's own circuit: the same file, or a copy of it.

        A verdict, and the versions that wrote it, make no other circuit.
        """
        one, other = (
            replace(each.provenance, verdict="", versions={}) for each in (self.circuit, baseline)
        )
        is_same = self.circuit.graph == baseline.graph and self.circuit.edges == baseline.edges
        return is_same and one == other

    def ablation_of(self, criterion: str) -> str:
        """Return the ablation under which a criterion is judged."""
        named = [r.ablation for r in self.contract.requirements if r.criterion == criterion]
        return "".join(named) or self.ablation

    def command(self, criterion: str) -> str:
        """Return what to type to look closer at a criterion."""
        request, contract = self.request, self.contract
        words = ["circuitkit", "validate", str(contract.circuit), "--model", request.model]
        if request.prompts is not None:
            words += ["--prompts", str(request.prompts)]
        else:
            words += ["--task", request.task, "--n", str(contract.n)]
        words += ["--seed", str(request.seed), "--ablation", self.ablation_of(criterion)]
        words += ["--criteria", criterion]
        return shlex.join(words + ["--anyway"] * self.weights_changed)


@dataclass(eq=False)
class ContractCases:
    """The cases of contracts. A model is loaded once, however many contracts are about it."""

    _models: dict[str, SubjectModel] = field(default_factory=dict)
    _opened_cases: dict[Contract, ContractCase] = field(default_factory=dict)

    def of(self, contract: Contract) -> ContractCase:
        """Return the case of a contract.

        Raises:
            ContractError: neither the contract nor the circuit file names the model or the task.
            CircuitFileError: the circuit cannot be read, or was found with another tokenizer.
            ModelError, TaskError, PromptError: as loading, finding and drawing raise them.
        """
        if contract not in self._opened_cases:
            self._opened_cases[contract] = self._opened(contract)
        return self._opened_cases[contract]

    def _opened(self, contract: Contract) -> ContractCase:
        circuit = load_circuit(contract.circuit)
        request = request_of(contract, circuit)
        subject = subject_of(request, self._models.get(request.model))
        if not subject.model.graph.units:  # else it is one taken apart, for this circuit alone
            self._models[request.model] = subject.model
        require_same_tokenizer(circuit, subject.model, contract.circuit, MOVED_TOKENIZER)
        return ContractCase(contract, circuit, request, subject)


def request_of(contract: Contract, circuit: Circuit) -> Request:
    """Return what is to be studied: what the contract says, else what the circuit file does.

    Raises:
        ContractError: neither names the model, or a task that is known.
    """
    origin = circuit.provenance
    model = contract.model or located_model(origin.model, contract.config.parent)
    if not model:
        raise ContractError(
            f"{contract.circuit}: must name its model, got none. The circuit is judged in it. Add "
            "model = ... to the contract."
        )
    own = origin.recipe.pairs
    task = own.task or origin.task
    has_own = bool(own.prompts) or task in installed_names()
    if not (contract.task or contract.prompts or has_own):
        raise ContractError(
            f"{contract.circuit}: must name a task that is installed, got {task or 'none'!r}. Its "
            'pairs judge the circuit. Add task = "my_task.py:MyTask" or prompts = "pairs.jsonl" '
            "to the contract."
        )
    asked = Overrides(
        contract.task, contract.prompts, model=model, n=contract.n, seed=contract.seed
    )
    return request_for(circuit, asked, str(contract.circuit), file=contract.circuit)
