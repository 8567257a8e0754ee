from tests.contracts.conftest import prepared as prepared
from tests.contracts.conftest import project as project
