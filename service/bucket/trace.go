package bucket

import (
	"context"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"

	"github.com/valyala/fasthttp"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/service"
)

// Tracer makes a span of what a function's code does to a bucket. said is the
// trace that the request names, the zero Trace where it names none. The span's
// trace is zero where the code acts for no call that is known. hops is how many
// functions the cause went through, this one included.
type Tracer interface {
	Begin(who mayfly.Caller, said mayfly.Trace, verb, resource string) (trace mayfly.Trace, hops int, end func(error))
}

// trace begins the span of an operation that came over S3; what came over the
// API has one already.
func (g *gate) trace(ctx context.Context, p *place, verb string) (end func(error)) {
	rc, s3 := ctx.(*fasthttp.RequestCtx)
	if !s3 {
		p.trace, p.hops = mayfly.TraceFrom(ctx), mayfly.HopsFrom(ctx)
		return func(error) {}
	}
	who := g.caller(ctx)
	if g.d.cfg.Tracer == nil || who.Kind != mayfly.CallerFunction {
		return func(error) {}
	}
	head := &rc.Request.Header
	said, _ := mayfly.ParseTrace(string(head.Peek("Traceparent")), string(head.Peek("X-Amzn-Trace-Id")))
	p.trace, p.hops, end = g.d.cfg.Tracer.Begin(who, said, verb, service.KindBucket+"/"+p.bucket)
	return end
}

var dialed atomic.Uint64

// dial connects to versitygw. On Linux the connection has a name, by which the
// gate knows from which door it comes.
func (s *server) dial(pid int) (inner net.Conn, forget func(), err error) {
	forget = func() {}
	var d net.Dialer
	if pid != 0 && runtime.GOOS == "linux" {
		name := "@mayfly-s3-" + strconv.Itoa(os.Getpid()) + "-" + strconv.FormatUint(dialed.Add(1), 36)
		d.LocalAddr = &net.UnixAddr{Name: name, Net: "unix"}
		s.pids.Store(name, pid)
		forget = func() { s.pids.Delete(name) }
	}
	if inner, err = d.Dial("unix", s.socket); err != nil {
		forget()
	}
	return inner, forget, err
}

// pidOf is the process whose door a request came through; 0 where it is not
// known.
func (s *server) pidOf(ctx context.Context) int {
	rc, ok := ctx.(*fasthttp.RequestCtx)
	if !ok {
		return 0
	}
	pid, _ := s.pids.Load(rc.RemoteAddr().String())
	n, _ := pid.(int)
	return n
}
