"""A gRPC server and its client, with bytes for messages: `peer.py server`, `peer.py client PORT`,
`peer.py turn PORT`.

The server says on which port it listens. The client does everything that gRPC has through whatever listens on PORT,
and says `ok NAME` for each thing that went as it should, and what it saw for each that did not.
"""

import sys
import threading
import time
from concurrent import futures

import grpc

LARGE = bytes(range(256)) * 4096 * 3  # 3 MiB


def unary(request, context):
    if request == b"fail":
        context.set_trailing_metadata((("x-why", "because"),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not so, 50% of the time")
    if request == b"slow":
        context.add_callback(lambda: ENDED.set())
        ENDED.wait(10)
        time.sleep(1)  # so that the client's deadline has passed, too
    if request == b"ended?":
        return b"yes" if ENDED.wait(5) else b"no"
    if request == b"deadline":
        return b"%d" % int(context.time_remaining())
    if request == b"meta":
        context.send_initial_metadata((("x-first", "one"),))
        context.set_trailing_metadata((("x-last-bin", b"\x00\xff"),))
        return dict(context.invocation_metadata())["x-mine"].encode()
    return request


ENDED = threading.Event()


def client_stream(requests, _context):
    return b"%d" % sum(len(request) for request in requests)


def server_stream(request, _context):
    for n in range(int(request)):
        yield b"%d" % n + b"." * 1000


def both(requests, _context):
    for request in requests:
        yield request[::-1]


SICK = threading.Event()


def health(request, context):
    """grpc.health.v1.Health/Check: of the server, of a service that anybody can make sick, and of no other."""
    service = request[2:]
    if service == b"turn":
        (SICK.clear if SICK.is_set() else SICK.set)()
    elif service not in (b"", b"moody"):
        context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
    return b"\x08\x02" if service == b"moody" and SICK.is_set() else b"\x08\x01"


def serve():
    handlers = grpc.method_handlers_generic_handler("t.S", {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Up": grpc.stream_unary_rpc_method_handler(client_stream),
        "Down": grpc.unary_stream_rpc_method_handler(server_stream),
        "Both": grpc.stream_stream_rpc_method_handler(both),
    })
    size = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server = grpc.server(futures.ThreadPoolExecutor(16), options=size)
    checks = {"Check": grpc.unary_unary_rpc_method_handler(health)}
    well = grpc.method_handlers_generic_handler("grpc.health.v1.Health", checks)
    server.add_generic_rpc_handlers((handlers, well))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(0)


def status(call):
    try:
        call()
    except grpc.RpcError as error:
        return error
    return None


def interleaved(channel):
    """Each answer is waited for before the next question is asked: nothing may be held back anywhere."""
    answers = futures.Future()
    turn = threading.Semaphore(1)

    def questions():
        for n in range(20):
            turn.acquire()
            yield b"question %d" % n

    got = []
    for answer in channel.stream_stream("/t.S/Both")(questions(), timeout=20):
        got.append(answer)
        turn.release()
    answers.cancel()
    return got == [(b"question %d" % n)[::-1] for n in range(20)]


def checks(channel):
    call = channel.unary_unary("/t.S/Unary")
    yield "unary", lambda: call(b"hello", timeout=10) == b"hello"
    yield "empty", lambda: call(b"", timeout=10) == b""
    yield "large", lambda: call(LARGE, timeout=20) == LARGE
    yield "up", lambda: channel.stream_unary("/t.S/Up")((LARGE for _ in range(4)), timeout=20) == b"%d" % (4 * len(LARGE))
    yield "down", lambda: sum(map(len, channel.unary_stream("/t.S/Down")(b"2000", timeout=20))) == 2006890
    yield "both", lambda: interleaved(channel)

    def failure():
        error = status(lambda: call(b"fail", timeout=10))
        return (error.code(), error.details(), dict(error.trailing_metadata())["x-why"]) == (
            grpc.StatusCode.FAILED_PRECONDITION, "not so, 50% of the time", "because")

    yield "status", failure
    yield "unknown", lambda: status(
        lambda: channel.unary_unary("/t.S/None")(b"", timeout=10)).code() == grpc.StatusCode.UNIMPLEMENTED
    yield "deadline", lambda: 90 <= int(call(b"deadline", timeout=100)) <= 100
    yield "late", lambda: status(
        lambda: call(b"slow", timeout=0.3)).code() == grpc.StatusCode.DEADLINE_EXCEEDED
    yield "cancelled", lambda: call(b"ended?", timeout=10) == b"yes"

    def metadata():
        reply, rest = call.with_call(b"meta", timeout=10, metadata=(("x-mine", "value"),))
        return (reply, dict(rest.initial_metadata())["x-first"], dict(rest.trailing_metadata())["x-last-bin"]) == (
            b"value", "one", b"\x00\xff")

    yield "metadata", metadata
    def many():
        going = [call.future(b"%d" % n, timeout=20) for n in range(300)]
        return [one.result() for one in going] == [b"%d" % n for n in range(300)]

    yield "many", many
    down = channel.unary_unary("/down/M")
    yield "mapped", lambda: status(lambda: down(b"", timeout=10)).code() == grpc.StatusCode.UNAVAILABLE


def ask(port):
    size = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel("127.0.0.1:%s" % port, options=size) as channel:
        for name, check in checks(channel):
            try:
                went = check()
            except Exception as error:  # whatever it was, the others are still to be seen
                went = error
            print("ok " + name if went is True else "%s: %r" % (name, went), flush=True)


def turn(port):
    """Makes the moody service sick, or well again."""
    with grpc.insecure_channel("127.0.0.1:" + port) as channel:
        channel.unary_unary("/grpc.health.v1.Health/Check")(b"\x0a\x04turn", timeout=10)


if sys.argv[1] == "server":
    serve()
elif sys.argv[1] == "turn":
    turn(sys.argv[2])
else:
    ask(sys.argv[2])
