"""Fetch a Hugging Face repository's model files through `huggingface_hub`, into that library's own cache.

So a download that another program made is found, an interrupted one resumes, and `HF_HUB_OFFLINE`, `HF_HOME`,
`HF_ENDPOINT` and `HF_TOKEN` mean what they mean elsewhere. Takes safetensors and text files alone: a pickle is never
fetched. Single files of a repository (GGUF) come the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vortex.errors import AdapterError, DownloadError, ModelNotFound, UnsupportedModel
from vortex.hub.folder import CONFIG_FILE, missing_files
from vortex.hub.progress import FolderWatch, Progress, ProgressSink
from vortex.hub.wheel_fetch import SPARE_BYTES, check_disk_space
from vortex.machine.network import ask_network

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
_WANTED = (".json", ".safetensors", ".jinja", ".txt", ".model")
_TEMPLATES_FOLDER = "additional_chat_templates/"


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository's files on this machine."""

    folder: Path
    size_bytes: int
    licence: str | None


@dataclass(frozen=True, slots=True)
class Listing:
    """A repository's files by name, with their bytes, at one revision."""

    revision: str
    sizes: Mapping[str, int]
    licence: str | None


def find_repository(repo_id: str) -> Path | None:
    """Its folder in the library's cache if all files of a model are there. Asks no network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(repo_id, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, HfHubHTTPError, OSError):
        return None
    return None if missing_files(folder) else folder


def snapshot_folders(repo_id: str) -> list[Path]:
    """Every snapshot of the repository in the library's cache, whole or not, the newest first. Asks no network."""
    from huggingface_hub import constants

    snapshots = Path(constants.HF_HUB_CACHE) / f"models--{repo_id.replace('/', '--')}" / "snapshots"
    folders = [folder for folder in snapshots.glob("*") if folder.is_dir()]
    return sorted(folders, key=lambda folder: folder.stat().st_mtime, reverse=True)


def fetch_repository(repo_id: str, sink: ProgressSink) -> Repository:
    """Raises ModelNotFound, UnsupportedModel (no safetensors inside) or DownloadError."""
    ask_network(f"fetching {repo_id}")
    info = _repository_info(repo_id)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or [] if _is_wanted(file.rfilename)}
    if CONFIG_FILE not in sizes or not any(name.endswith(".safetensors") for name in sizes):
        raise UnsupportedModel(
            f"{repo_id} holds no config.json with *.safetensors and no GGUF file; choose a repository in one of these "
            "formats"
        )
    path = _downloaded(repo_id, info, sizes, sink)
    licence = getattr(info.card_data, "license", None) if info.card_data else None
    return Repository(path, sum(sizes.values()), licence if isinstance(licence, str) else None)


def fetch_adapter(repo_id: str, sink: ProgressSink) -> Path:
    """The folder with an adapter's two files, of a repository in peft's format; nothing else of it is fetched.

    Raises ModelNotFound, AdapterError (no such files inside) or DownloadError.
    """
    ask_network(f"fetching {repo_id}")
    info = _repository_info(repo_id)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or [] if file.rfilename in ADAPTER_FILES}
    if missing := [name for name in ADAPTER_FILES if name not in sizes]:
        raise AdapterError(f"{repo_id} is no adapter in peft's format: it holds no {' and no '.join(missing)}")
    return _downloaded(repo_id, info, sizes, sink)


def _downloaded(repo_id: str, info: ModelInfo, sizes: Mapping[str, int], sink: ProgressSink) -> Path:
    """The snapshot's folder with the files of these names."""
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()  # the sink tells
    total_bytes = sum(sizes.values())
    cache = Path(constants.HF_HUB_CACHE)
    cache.mkdir(parents=True, exist_ok=True)
    check_disk_space(cache, total_bytes + SPARE_BYTES, repo_id)
    step = f"downloading {repo_id}"
    sink(Progress(step, 0, total_bytes))
    folder = cache / f"models--{repo_id.replace('/', '--')}"
    try:
        with FolderWatch(folder, lambda done: sink(Progress(step, min(done, total_bytes), total_bytes))):
            path = snapshot_download(repo_id, revision=info.sha, allow_patterns=sorted(sizes))
    except (HfHubHTTPError, OSError) as error:
        raise DownloadError(_lost(repo_id, error)) from error
    except Exception as error:
        raise _network_error(repo_id, error) from error
    sink(Progress("done", total_bytes, total_bytes))
    return Path(path)


def list_files(repo_id: str) -> Listing:
    """What the repository holds now. Raises ModelNotFound or DownloadError."""
    ask_network(f"looking into {repo_id}")
    info = _repository_info(repo_id)
    licence = getattr(info.card_data, "license", None) if info.card_data else None
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
    return Listing(info.sha or "main", sizes, licence if isinstance(licence, str) else None)


def fetch_files(repo_id: str, listing: Listing, names: Sequence[str], sink: ProgressSink) -> list[Path]:
    """These files of it, in the library's cache, in order; what is there already is not fetched again, and one that
    broke off resumes. Raises DownloadError."""
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils.tqdm import disable_progress_bars

    ask_network(f"fetching {repo_id}")
    disable_progress_bars()  # the sink tells
    cache, total_bytes = Path(constants.HF_HUB_CACHE), sum(listing.sizes[name] for name in names)
    cache.mkdir(parents=True, exist_ok=True)
    check_disk_space(cache, total_bytes + SPARE_BYTES, repo_id)
    step = f"downloading {repo_id}"
    sink(Progress(step, 0, total_bytes))
    folder = cache / f"models--{repo_id.replace('/', '--')}"
    try:
        with FolderWatch(folder, lambda done: sink(Progress(step, min(done, total_bytes), total_bytes))):
            return [Path(hf_hub_download(repo_id, name, revision=listing.revision)) for name in names]
    except (HfHubHTTPError, OSError) as error:
        raise DownloadError(_lost(repo_id, error)) from error
    except Exception as error:
        raise _network_error(repo_id, error) from error


def remove_file(path: Path) -> None:
    """Delete one file of the library's cache: the link in the snapshot, and the content that it names."""
    content = path.resolve()
    path.unlink(missing_ok=True)
    if content != path:
        content.unlink(missing_ok=True)


def _is_wanted(name: str) -> bool:
    """Files at the top level, without the second copy some repositories keep in their authors' own format."""
    inside = name.removeprefix(_TEMPLATES_FOLDER)
    return "/" not in inside and inside.endswith(_WANTED) and not inside.startswith("consolidated")


def _repository_info(repo_id: str) -> ModelInfo:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, OfflineModeIsEnabled, RepositoryNotFoundError

    try:
        return HfApi().model_info(repo_id, files_metadata=True)
    except GatedRepoError as error:
        raise DownloadError(
            f"{repo_id} asks you to accept its terms on its web page first; do so, then set HF_TOKEN to your token"
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelNotFound(f"there is no repository {repo_id!r}, or it is private (set HF_TOKEN)") from error
    except OfflineModeIsEnabled as error:
        raise DownloadError(
            f"{repo_id} is not on this machine and HF_HUB_OFFLINE forbids the network; unset it to download"
        ) from error
    except (HfHubHTTPError, OSError) as error:
        raise DownloadError(_lost(repo_id, error)) from error
    except Exception as error:
        raise _network_error(repo_id, error) from error


def _network_error(repo_id: str, error: Exception) -> Exception:
    """The error of the library's HTTP client as ours; anything else stays what it is."""
    module = type(error).__module__.split(".")[0]
    return DownloadError(_lost(repo_id, error)) if module.startswith(("httpx", "httpcore", "requests")) else error


def _lost(repo_id: str, error: Exception) -> str:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return (
        f"{repo_id} cannot be fetched ({reason}); check the network and run the command again: "
        "what has arrived is kept and the download resumes"
    )


def remove_repository(folder: Path) -> None:
    """Delete a snapshot from the library's cache, with the files that no other snapshot uses."""
    from huggingface_hub import scan_cache_dir

    scan_cache_dir().delete_revisions(folder.name).execute()
