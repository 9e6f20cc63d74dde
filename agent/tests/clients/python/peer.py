"""A service and its caller, in Python: aiohttp for HTTP and WebSocket, grpcio for gRPC.

In: `serve`, or `call` with the addresses of HTTP and gRPC, the proxy, and whether the service speaks WebSocket.
Out: the ports as JSON, or exit code 1 with the first thing that was not as it must be.
Left out on purpose: tracing. Nothing here knows of it but what it copies from its caller.
"""

import asyncio
import json
import sys

import aiohttp
import grpc
from aiohttp import web

LARGE = 10 << 20


async def hello(request):
    return web.Response(text="hello", headers={"x-traceparent": request.headers.get("traceparent", "")})


async def echo(request):
    response = web.StreamResponse()
    await response.prepare(request)
    async for piece in request.content.iter_any():
        await response.write(piece)
    return response


async def events(request):
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for number in range(3):
        await response.write(f"data: {number}\n\n".encode())
    return response


async def fail(_):
    return web.Response(status=503, text="not now")


async def large(_):
    return web.Response(body=b"x" * LARGE)


async def chat(request):
    socket = web.WebSocketResponse(protocols=("story",), max_msg_size=2 * LARGE)
    await socket.prepare(request)
    async for message in socket:
        if message.type is aiohttp.WSMsgType.TEXT and message.data == "bye":
            await socket.close(code=4001, message=b"bye")
        elif message.type is aiohttp.WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


async def unary(request, context):
    await context.send_initial_metadata((("x-initial", "yes"),))
    context.set_trailing_metadata((("x-seen", dict(context.invocation_metadata()).get("x-asked", "")),))
    return request


async def server_stream(request, _):
    for number in range(int(request)):
        yield str(number).encode()


async def bidi(requests, _):
    async for request in requests:
        yield request


async def missing(_, context):
    context.set_trailing_metadata((("x-details-bin", b"\x00\x01"),))
    await context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")


async def slow(_, context):
    await asyncio.Event().wait()


async def serve():
    app = web.Application(client_max_size=2 * LARGE)
    for path, handler in [("/hello", hello), ("/events", events), ("/fail", fail), ("/large", large), ("/chat", chat)]:
        app.router.add_get(path, handler)
    app.router.add_post("/echo", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server = grpc.aio.server()
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Stream": grpc.unary_stream_rpc_method_handler(server_stream),
        "Bidi": grpc.stream_stream_rpc_method_handler(bidi),
        "Missing": grpc.unary_unary_rpc_method_handler(missing),
        "Slow": grpc.unary_unary_rpc_method_handler(slow),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("story.Story", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    http = site._server.sockets[0].getsockname()[1]
    print(json.dumps({"http": http, "grpc": port, "websocket": True}), flush=True)
    await asyncio.Event().wait()


async def call_http(base, proxy):
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{base}/hello") as answer:
            assert await answer.text() == "hello" and answer.headers["x-traceparent"]
        async with session.head(f"{base}/hello") as answer:
            assert answer.status == 200 and answer.headers["content-length"] == "5"

        async def pieces():
            for number in range(100):
                yield b"%d," % number

        async with session.post(f"{base}/echo", data=pieces()) as answer:
            assert await answer.read() == b"".join([b"%d," % number for number in range(100)])
        async with session.post(f"{base}/echo", data=b"continued", expect100=True) as answer:
            assert await answer.read() == b"continued"
        async with session.get(f"{base}/events") as answer:
            assert await answer.text() == "data: 0\n\ndata: 1\n\ndata: 2\n\n"
        async with session.get(f"{base}/fail") as answer:
            assert answer.status == 503 and await answer.text() == "not now"
        async with session.get(f"{base}/large") as answer:
            assert len(await answer.read()) == LARGE
        async with session.get(f"{base}/hello", proxy=proxy) as answer:
            assert await answer.text() == "hello"


async def call_websocket(base):
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(f"{base}/chat", protocols=("story",), max_msg_size=2 * LARGE) as socket:
            assert socket.protocol == "story"
            await socket.send_str("text")
            assert await socket.receive_str() == "text"
            await socket.ping(b"are you there")
            await socket.send_bytes(b"x" * LARGE)
            assert len(await socket.receive_bytes()) == LARGE
            await socket.send_str("bye")
            closed = await socket.receive()
            assert closed.type is aiohttp.WSMsgType.CLOSE and closed.data == 4001, closed


async def status(call):
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError("it succeeded")


async def call_grpc(address):
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.unary_unary("/story.Story/Unary")(b"one", metadata=(("x-asked", "two"),))
        assert await call == b"one"
        assert dict(await call.initial_metadata())["x-initial"] == "yes"
        assert dict(await call.trailing_metadata())["x-seen"] == "two"
        stream = channel.unary_stream("/story.Story/Stream")(b"1000")
        assert [int(item) async for item in stream] == list(range(1000))
        bidi_call = channel.stream_stream("/story.Story/Bidi")()
        for number in range(5):
            await bidi_call.write(b"%d" % number)
            assert await bidi_call.read() == b"%d" % number
        await bidi_call.done_writing()
        assert await bidi_call.read() is grpc.aio.EOF
        error = await status(channel.unary_unary("/story.Story/Missing")(b""))
        assert error.code() is grpc.StatusCode.NOT_FOUND and error.details() == "no such thing", error
        assert dict(error.trailing_metadata())["x-details-bin"] == b"\x00\x01"
        error = await status(channel.unary_unary("/story.Story/Slow")(b"", timeout=0.3))
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED, error


async def call(http, grpc_address, proxy, websocket):
    await call_http(f"http://{http}", f"http://{proxy}")
    if websocket == "true":
        await call_websocket(f"http://{http}")
    await call_grpc(grpc_address)
    print("as it must be")


if __name__ == "__main__":
    asyncio.run(serve() if sys.argv[1] == "serve" else call(*sys.argv[2:]))
