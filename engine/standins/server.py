"""What every stand-in has in common: the service's calls, errors, the engine's log, the end."""

# ruff: noqa: D102, N802 - the names and meaning of the service's methods are the protocol's

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import grpc
from google.protobuf import empty_pb2

from . import proto
from .wire import Properties, changes, decode, encode

# As in the SDK: a state with many files in it is larger than gRPC's own limit of 4 MiB.
MESSAGE_LIMIT = 400 * 1024 * 1024
OPTIONS = [
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.max_send_message_length", MESSAGE_LIMIT),
]
# One thread per call under way; a command that runs for minutes holds its thread.
WORKERS = 128

# Shows a line (second) beside the resource of this URN (first) in the engine's progress.
Log = Callable[[str, str], None]


class PluginError(Exception):
    """What the user is told when a call fails; its text must hold no secret."""


class InputError(PluginError):
    """A fault in one input, reported by the engine beside the resource before anything runs."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"{key}: {reason}")
        self.key, self.reason = key, reason


class Plugin:
    """One package's resources. A subclass fills in the verbs; values are those of ``wire``."""

    name = ""
    types: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()

    def __init__(self, log: Log) -> None:
        self.log = log

    def check(self, kind: str, inputs: Properties) -> Properties:
        """Inputs with defaults filled in; raises ``InputError``."""
        raise NotImplementedError

    def input_names(self, kind: str) -> frozenset[str]:
        """The inputs whose change makes a difference."""
        raise NotImplementedError

    def replaces(self, kind: str) -> frozenset[str]:
        """The inputs whose change asks for a new resource."""
        raise NotImplementedError

    def create(self, urn: str, inputs: Properties, preview: bool, limit: float) -> Properties:
        """Make it; ``limit`` in seconds, 0 for none. Raises ``PluginError``."""
        raise NotImplementedError

    def identity(self, name: str) -> str:
        """The id of a new resource of that name."""
        raise NotImplementedError

    def update(
        self, urn: str, old: Properties, inputs: Properties, preview: bool, limit: float
    ) -> Properties:
        """Change it in place. Raises ``PluginError``; the engine then keeps the old state."""
        raise NotImplementedError

    def delete(self, urn: str, old: Properties, limit: float) -> None:
        """Remove it. Raises ``PluginError``; the engine then keeps the resource."""

    def invoke(self, function: str, arguments: Properties) -> Properties:
        """Call a function of the package."""
        raise NotImplementedError

    def cancel(self) -> None:
        """End whatever is running, at once."""


def kind_of(urn: str) -> str:
    """The type token of a resource, without its parents' types."""
    return urn.split("::")[2].split("$")[-1]


class Service(proto.provider_grpc.ResourceProviderServicer):  # type: ignore[name-defined,misc]
    """Translates the engine's calls into a ``Plugin``'s verbs."""

    def __init__(self, plugin: Plugin, version: str) -> None:
        self.plugin, self.version = plugin, version

    def _known(self, token: str, known: tuple[str, ...]) -> str:
        if token not in known:
            raise PluginError(
                f"{token} is not in this stand-in for the plugin {self.plugin.name}, which has "
                f"{', '.join(known) or 'none of its kind'}. Where downloads work, get the official "
                "plugin: python3 -m engine plugins --official"
            )
        return token

    def Handshake(self, request: Any, context: Any) -> Any:
        return proto.provider.ProviderHandshakeResponse(accept_secrets=True)

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return proto.plugin.PluginInfo(version=self.version)

    def Attach(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def CheckConfig(self, request: Any, context: Any) -> Any:
        return proto.provider.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> Any:
        return proto.provider.DiffResponse(changes=proto.provider.DiffResponse.DIFF_NONE)

    def Configure(self, request: Any, context: Any) -> Any:
        return proto.provider.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    def Check(self, request: Any, context: Any) -> Any:
        kind = self._known(kind_of(request.urn), self.plugin.types)
        inputs = decode(request.news)
        try:
            checked = self.plugin.check(kind, inputs)
        except InputError as fault:
            failure = proto.provider.CheckFailure(property=fault.key, reason=fault.reason)
            return proto.provider.CheckResponse(inputs=request.news, failures=[failure])
        return proto.provider.CheckResponse(inputs=encode(checked))

    def Diff(self, request: Any, context: Any) -> Any:
        kind, response = kind_of(request.urn), proto.provider.DiffResponse
        names, replaces = self.plugin.input_names(kind), self.plugin.replaces(kind)
        old = {key: value for key, value in decode(request.olds).items() if key in names}
        found = list(changes(old, decode(request.news)))
        detailed = {}
        for change in found:
            suffix = "_REPLACE" if change.root in replaces else ""
            kind_number = proto.provider.PropertyDiff.Kind.Value(change.kind.upper() + suffix)
            detailed[change.path] = proto.provider.PropertyDiff(kind=kind_number, inputDiff=True)
        roots = {change.root for change in found}
        return response(
            changes=response.DIFF_SOME if found else response.DIFF_NONE,
            diffs=sorted(roots),
            replaces=sorted(roots & replaces),
            detailedDiff=detailed,
            hasDetailedDiff=True,
        )

    def Create(self, request: Any, context: Any) -> Any:
        inputs = decode(request.properties)
        state = self.plugin.create(request.urn, inputs, request.preview, request.timeout)
        identity = "" if request.preview else self.plugin.identity(request.urn.split("::")[3])
        return proto.provider.CreateResponse(id=identity, properties=encode(state))

    def Read(self, request: Any, context: Any) -> Any:
        return proto.provider.ReadResponse(
            id=request.id, properties=request.properties, inputs=request.inputs
        )

    def Update(self, request: Any, context: Any) -> Any:
        old, inputs = decode(request.olds), decode(request.news)
        state = self.plugin.update(request.urn, old, inputs, request.preview, request.timeout)
        return proto.provider.UpdateResponse(properties=encode(state))

    def Delete(self, request: Any, context: Any) -> Any:
        self.plugin.delete(request.urn, decode(request.properties), request.timeout)
        return empty_pb2.Empty()

    def Invoke(self, request: Any, context: Any) -> Any:
        token = self._known(request.tok, self.plugin.functions)
        result = self.plugin.invoke(token, decode(request.args))
        return proto.provider.InvokeResponse(**{"return": encode(result)})

    def Cancel(self, request: Any, context: Any) -> Any:
        self.plugin.cancel()
        return empty_pb2.Empty()


class Guard(grpc.ServerInterceptor):  # type: ignore[misc]
    """Turns every failure of a call into a status: a text for users, never a traceback.

    Of an unforeseen exception only its type and place are told, as its text may quote a secret.
    """

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        handler = continuation(details)
        if handler is None or handler.unary_unary is None:
            return handler
        name = details.method.rsplit("/", 1)[-1]

        def call(request: Any, context: Any) -> Any:
            try:
                return handler.unary_unary(request, context)
            except PluginError as error:
                status, text = grpc.StatusCode.UNKNOWN, str(error)
            except NotImplementedError:
                status, text = grpc.StatusCode.UNIMPLEMENTED, f"{name} is not in this stand-in"
            except Exception as error:
                place = traceback.extract_tb(error.__traceback__)[-1]
                where = f"{Path(place.filename).name}:{place.lineno}"
                status = grpc.StatusCode.INTERNAL
                text = f"the stand-in failed in {name}: {type(error).__name__} at {where}"
            return context.abort(status, text)

        return grpc.unary_unary_rpc_method_handler(
            call, handler.request_deserializer, handler.response_serializer
        )


def engine_log(address: str) -> Log:
    """A function that shows a line beside a resource (its URN) in the engine's progress."""
    if not address:
        return lambda urn, text: None
    stub = proto.engine_grpc.EngineStub(grpc.insecure_channel(address, options=OPTIONS))

    def log(urn: str, text: str) -> None:
        request = proto.engine.LogRequest(
            severity=proto.engine.INFO, message=text, urn=urn, ephemeral=True
        )
        try:
            stub.Log(request)
        except grpc.RpcError:
            return  # the engine is gone; the command itself still decides the outcome

    return log


def serve(make: Callable[[Log], Plugin], arguments: Sequence[str]) -> NoReturn:
    """Serve a plugin until the engine ends; ``arguments`` are version and engine's address."""
    version, *rest = arguments
    plugin = make(engine_log(rest[-1] if rest and not rest[-1].startswith("-") else ""))
    server = grpc.server(ThreadPoolExecutor(WORKERS), interceptors=[Guard()], options=OPTIONS)
    proto.provider_grpc.add_ResourceProviderServicer_to_server(Service(plugin, version), server)
    port = server.add_insecure_port("127.0.0.1:0")
    parent, done = os.getppid(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()

    while not done.wait(1) and os.getppid() == parent:
        pass  # an engine that died without a word must not leave commands running
    plugin.cancel()
    server.stop(0)
    os._exit(0)
