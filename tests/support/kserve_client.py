"""Drives KServe's own clients against a server and prints what they made of its answers, as one JSON object.

Run by path, in an environment that holds nothing but KServe's client (requirements/clients.txt): it must not import
anything of ours. Arguments: REST address, gRPC address, model.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import sys
import types
import uuid
from collections.abc import Awaitable
from typing import Any


def _without_the_server() -> None:
    # The package's own __init__ imports KServe's server and its Kubernetes client; the inference clients need neither.
    found = importlib.util.find_spec("kserve")
    assert found is not None
    assert found.submodule_search_locations is not None
    package = types.ModuleType("kserve")
    package.__path__ = list(found.submodule_search_locations)
    sys.modules["kserve"] = package


_without_the_server()

import numpy as np  # noqa: E402
from kserve.constants.constants import PredictorProtocol  # noqa: E402
from kserve.inference_client import InferenceGRPCClient, InferenceRESTClient, RESTConfig  # noqa: E402
from kserve.protocol.infer_type import InferInput, InferRequest, RequestedOutput  # noqa: E402

ROWS = [[6.8, 2.8, 4.8, 1.4], [6.0, 3.4, 4.5, 1.6]]
JSON_BODY = {"inputs": [{"name": "input-0", "shape": [2, 4], "datatype": "FP32", "data": ROWS}]}


def _matrix(*, binary: bool, datatype: str = "FP32") -> InferInput:
    matrix = InferInput("input-0", [2, 4], datatype)
    matrix.set_data_from_numpy(np.array(ROWS, np.float32 if datatype == "FP32" else np.float64), binary_data=binary)
    return matrix


def _request(model: str, *, binary: bool, datatype: str = "FP32", **extra: Any) -> InferRequest:
    matrix = _matrix(binary=binary, datatype=datatype)
    return InferRequest(model_name=model, infer_inputs=[matrix], request_id=str(uuid.UUID(int=7)), **extra)


def _told(response: Any) -> dict[str, Any]:
    outputs = {
        each.name: [str(value) for value in np.asarray(each.as_numpy()).reshape(-1)] for each in response.outputs
    }
    return {"id": response.id, "model": response.model_name, "outputs": outputs}


async def _or_error(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except Exception as error:
        return f"{type(error).__name__}: {error}"


async def _v2(url: str, model: str) -> dict[str, Any]:
    async with InferenceRESTClient(RESTConfig(protocol=PredictorProtocol.REST_V2)) as client:
        wanted = [RequestedOutput("predict"), RequestedOutput("predict_proba", parameters={"binary_data": True})]
        cases = {
            "json": JSON_BODY,
            "request": _request(model, binary=False),
            "binary": _request(model, binary=True, datatype="FP64"),
            "chosen": _request(model, binary=True, request_outputs=wanted),
            "all_binary": _request(model, binary=True, parameters={"binary_data_output": True}),
        }
        narrow = {"inputs": [{"name": "input-0", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}
        return {
            "live": await client.is_server_live(url),
            "ready": await client.is_server_ready(url),
            "model": await client.is_model_ready(url, model),
            "no model": await _or_error(client.is_model_ready(url, "nobody")),
            "narrow": await _or_error(client.infer(url, narrow, model_name=model)),
            **{name: _told(await client.infer(url, body, model_name=model)) for name, body in cases.items()},
        }


async def _v1(url: str, model: str) -> dict[str, Any]:
    async with InferenceRESTClient() as client:  # V1 is its default
        return {
            "live": await client.is_server_live(url),
            "model": await client.is_model_ready(url, model),
            "predictions": (await client.infer(url, {"instances": ROWS}, model_name=model))["predictions"],
        }


async def _grpc(address: str, model: str) -> dict[str, Any]:
    async with InferenceGRPCClient(address) as client:
        return {
            "live": await client.is_server_live(),
            "ready": await client.is_server_ready(),
            "model": await client.is_model_ready(model),
            "typed": _told(await client.infer(_request(model, binary=False))),
            "raw": _told(await client.infer(_request(model, binary=True))),
        }


async def _everything(url: str, address: str, model: str) -> dict[str, Any]:
    return {"v1": await _v1(url, model), "v2": await _v2(url, model), "grpc": await _grpc(address, model)}


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    print(json.dumps(asyncio.run(_everything(*sys.argv[1:4]))))
