"""Errors a user can cause. Each message is one line and names the fix.

    VortexError
    ├── ConfigError            a setting or profile that does not exist or has a wrong value
    ├── ModelNotFound          no such model name, file or folder
    ├── ModelFileError         a file that is truncated, foreign, or fails its checksum
    ├── UnsupportedModel       a well-formed file whose architecture or format is not supported
    ├── AdapterError           an adapter that is damaged, of another model, edited, or of a kind that is not served
    ├── DownloadError          no network, interrupted, refused
    ├── StorageError           no disk space, a folder that cannot be written
    ├── RequestError           a request that cannot be served as it was asked
    │   ├── ContextOverflow    prompt and answer do not fit the context
    │   └── UnknownModel       the request names a model that is not served
    ├── WebRefused             a page that may not or cannot be fetched; the reason is in the line
    ├── Overloaded             the queue is full; try again later
    ├── BackendError           an engine behind a wire failed or answered nonsense
    ├── TrainingStopped        a training that cannot go on: NaN, or out of memory; names the step
    ├── AgentStopped           an agent's task that cannot be begun or finished; says why and what would help
    └── MissingCapability      this machine or installation lacks something (GPU, extra, compiler)
        └── SandboxRefused     the walls that a command needs cannot be had here, so it did not run

Internal invariants are asserts with a message, never these.
"""


class VortexError(Exception):
    """Base of every error that is shown to a user as one line."""

    exit_code = 1


class ConfigError(VortexError):
    exit_code = 2


class ModelNotFound(VortexError):
    exit_code = 3


class ModelFileError(VortexError):
    exit_code = 4


class UnsupportedModel(VortexError):
    exit_code = 4


class AdapterError(VortexError):
    exit_code = 4


class DownloadError(VortexError):
    exit_code = 5


class StorageError(VortexError):
    exit_code = 5


class RequestError(VortexError):
    """`param` names the request field at fault, as OpenAI's error shape does."""

    exit_code = 2

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class ContextOverflow(RequestError):
    def __init__(self, message: str, *, param: str | None = "messages") -> None:
        super().__init__(message, param=param, code="context_length_exceeded")


class UnknownModel(RequestError):
    def __init__(self, message: str) -> None:
        super().__init__(message, param="model", code="model_not_found")


class WebRefused(VortexError):
    exit_code = 5


class Overloaded(VortexError):
    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class BackendError(VortexError):
    """`status` is the HTTP status of the answering engine, when there was one."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class MissingCapability(VortexError):
    exit_code = 6


class SandboxRefused(MissingCapability):
    exit_code = 125


class TrainingStopped(VortexError):
    exit_code = 7


class AgentStopped(VortexError):
    exit_code = 1
