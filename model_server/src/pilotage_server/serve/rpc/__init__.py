"""The Open Inference Protocol over gRPC, the extra `grpc`: imported only where a port is asked for."""

from pilotage_server.serve.rpc.service import RpcServer

__all__ = ["RpcServer"]
