package bucket

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
)

// outward sends requests to other S3 servers. versitygw's contexts and bodies
// are parts of a request to this node, and are used for another one as soon as it
// is answered; net/http may look at them after it has returned. So it gets
// neither the context nor, once it has returned, the body.
type outward struct{ *http.Transport }

func (o outward) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := context.Background()
	if by, ok := req.Context().Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, by)
		context.AfterFunc(ctx, cancel) // the answer's body may be read until then
	}
	own := req.WithContext(ctx)
	if req.Body == nil || req.Body == http.NoBody {
		return o.Transport.RoundTrip(own)
	}
	body := &lent{body: req.Body}
	own.Body = body
	defer body.end()
	return o.Transport.RoundTrip(own)
}

// lent is a body that is taken back.
type lent struct {
	mu   sync.Mutex
	body io.ReadCloser // guarded by mu; nil when it was taken back
}

var errTakenBack = errors.New("the request is answered already")

func (l *lent) Read(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.body == nil {
		return 0, errTakenBack
	}
	return l.body.Read(b)
}

// Close leaves the body to its owner.
func (l *lent) Close() error { return nil }

// end waits for a read that is under way.
func (l *lent) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.body = nil
}
