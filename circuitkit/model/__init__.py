"""The door to a real transformer: loading, running with hooks, recording, weights and norms."""

from circuitkit.model.forward import Hook as Hook
from circuitkit.model.loading import from_bridge as from_bridge
from circuitkit.model.loading import from_hf as from_hf
from circuitkit.model.loading import load_directory as load_directory
from circuitkit.model.norms import Norm as Norm
from circuitkit.model.state_dicts import Reading as Reading
from circuitkit.model.state_dicts import load_state_dict as load_state_dict
from circuitkit.model.subject import SubjectModel as SubjectModel
