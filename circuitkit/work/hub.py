"""Files in a repository of the Hugging Face Hub, by an address: hf://user/name, or with @revision.

Files are read as data, never run. A download is kept in the Hub's own cache, and is read from there
where there is no network. HF_ENDPOINT, HF_TOKEN and HF_HOME mean what they mean everywhere.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from circuitkit.errors import HubError
from circuitkit.work.text import error_text, shown

PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
ADDRESS = re.compile(rf"hf:/{{1,2}}({PART}/{PART})(?:@({PART}))?/?")  # a path has one slash
FORM = "hf://user/name or hf://user/name@revision"


@dataclass(frozen=True)
class Address:
    """A repository of models, and which of its revisions; empty for the newest."""

    repository: str
    revision: str = ""

    def __str__(self) -> str:
        return f"hf://{self.repository}" + (f"@{self.revision}" if self.revision else "")


def is_address(path: str | Path) -> bool:
    """Return whether this names a repository of the Hub, and no file."""
    return str(path).startswith("hf:/")


def address_of(path: str | Path) -> Address:
    """Return the address that a text or path stands for.

    Raises:
        HubError: it has another form.
    """
    found = ADDRESS.fullmatch(str(path))
    if found is None or ".." in str(path) or "--" in str(path):
        raise HubError(
            f"repository {shown(str(path))}: must be {FORM}, got another form. It says where on "
            "the Hugging Face Hub the circuit is. Check the name."
        )
    return Address(found[1], found[2] or "")


def fetched(address: Address, name: str) -> Path:
    """Return where a file of a repository lies on this machine, after fetching it if need be.

    Raises:
        HubError: there is no such repository, revision or file, or no way to it.
    """
    from huggingface_hub import HfApi

    with _told(address, name):
        path = HfApi().hf_hub_download(address.repository, name, revision=address.revision or None)
    return Path(path)


def pushed(
    address: Address, files: Mapping[str, bytes], message: str, *, private: bool = True
) -> str:
    """Put files into a repository in one commit, making it where there is none; return its address.

    A repository that is there stays as public or private as it is.

    Raises:
        HubError: there is no token, no right to write, or no way to it.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, get_token

    if get_token() is None:
        raise HubError(
            f"repository {address}: must be written with a token, got none. The Hub asks who "
            "writes. Type `hf auth login`, or set HF_TOKEN to a token that may write."
        )
    api = HfApi()
    with _told(address):
        api.create_repo(address.repository, private=private, exist_ok=True)
        made = api.create_commit(
            address.repository,
            [CommitOperationAdd(name, content) for name, content in files.items()],
            commit_message=message,
            revision=address.revision or None,
        )
    return str(made.commit_url)


@contextmanager
def _told(address: Address, name: str = "") -> Iterator[None]:
    """Turn what the Hub's library raises into a sentence."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise _error(address, "open to you", "a gate", "Ask for access on its page.") from error
    except errors.RepositoryNotFoundError as error:
        remedy = "Check the name; for a private one, type `hf auth login` or set HF_TOKEN."
        raise _error(address, "there", "no such repository", remedy) from error
    except errors.RevisionNotFoundError as error:
        remedy = "Leave @revision out for the newest."
        raise _error(address, "there", "no such revision", remedy) from error
    except errors.RemoteEntryNotFoundError as error:
        remedy = "It may be of another kind: `circuitkit push` makes one with a circuit."
        raise _error(address, f"one with {name}", f"none with {name}", remedy) from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        remedy = "Check the network and HF_ENDPOINT, and that HF_HUB_OFFLINE is not set."
        raise _error(address, "within reach", "no way to it, and no copy here", remedy) from error
    except Exception as error:  # of its transport: refusals of the server, lost connections
        remedy = "Check the network, and that the token may do this."
        raise _error(address, "one that answers", error_text(error), remedy) from error


def _error(address: Address, rule: str, got: str, remedy: str) -> HubError:
    return HubError(
        f"repository {address}: must be {rule}, got {got}. Nothing was read or written. {remedy}"
    )
