"""The gateway of a local cloud: its ingress, an HTTP/1.1 reverse proxy that follows the Gateway API.

`python -m localclouds.gateway --cloud-dir STATE/<cloud>` serves one address and keeps the status of
HTTPRoutes, its Gateway and GatewayClass. It never sends a request twice: what a client sees is what one pod
did, which is what a test of a rollout needs.

    routes     HTTPRoutes compiled, and which rule takes a request: pure
    status     what is reported about routes and gateways: pure
    table      routes, Services and pods as they are now: request → one ready pod
    messages   heads of requests and answers as bytes: pure
    client, exchange, upstream     the data path, on httptools: one connection in, one request, one connection out
    metrics, admin                 what happened, for Prometheus
    reporter, program              status writing; composition
"""
