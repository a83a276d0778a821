package gateway

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/invoke"
)

// authenticate reads the bearer token.
func (g *Gateway) authenticate(r *http.Request) (mayfly.Caller, error) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return mayfly.Caller{}, mayfly.Errorf(mayfly.Unauthorized, "", "this needs a token: send it as Authorization: Bearer TOKEN")
	}
	return g.cfg.Tokens.Verify(strings.TrimSpace(token))
}

// direct serves POST /_fn/APP/FUNCTION: the body is the event, the reply is the
// function's result. ?async=1 accepts it durably, ?qualifier= names an alias or
// a version.
func (g *Gateway) direct(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		g.problemStatus(w, http.StatusMethodNotAllowed, mayfly.Errorf(mayfly.Invalid, "", "call a function with POST; the body is its event"))
		return
	}
	who, err := g.authenticate(r)
	if err != nil {
		g.problem(w, err)
		return
	}
	event, err := g.directEvent(w, r)
	if err != nil {
		g.problem(w, err)
		return
	}
	req := &invoke.Request{
		ID: mayfly.NewID(), App: mayfly.AppName(r.PathValue("app")), Function: mayfly.FunctionName(r.PathValue("function")),
		Qualifier: r.URL.Query().Get("qualifier"), Event: event, Trigger: mayfly.TriggerDirect, Trace: traceOf(w, r), Caller: who,
	}
	w.Header().Set(RequestIDHeader, req.ID)
	if async := r.URL.Query().Get("async"); async != "" && async != "0" && async != "false" {
		g.accept(w, r, req)
		return
	}
	g.callDirect(w, r, req)
}

func (g *Gateway) directEvent(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	event, err := g.readBody(w, r, g.cfg.MaxBody)
	if err != nil {
		return nil, err
	}
	if len(event) == 0 {
		return []byte("{}"), nil
	}
	if !json.Valid(event) {
		return nil, mayfly.Errorf(mayfly.Invalid, "", "the body is not JSON; a direct call's body is the function's event")
	}
	return event, nil
}

func (g *Gateway) accept(w http.ResponseWriter, r *http.Request, req *invoke.Request) {
	if len(req.Event) > int(mayfly.MaxAsync) {
		g.problem(w, mayfly.Errorf(mayfly.TooLarge, "", "an asynchronous event may have %s; put large data into a bucket and send its key", mayfly.MaxAsync))
		return
	}
	id, err := g.cfg.Async.Enqueue(r.Context(), req)
	if err != nil {
		g.problem(w, err)
		return
	}
	body, _ := json.Marshal(map[string]string{"id": id})
	w.Header().Set(RequestIDHeader, id) // the id of the call's records
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	_, _ = w.Write(append(body, '\n'))
}

func (g *Gateway) callDirect(w http.ResponseWriter, r *http.Request, req *invoke.Request) {
	res, err := g.cfg.Invoker.Invoke(r.Context(), req)
	if res != nil {
		g.describe(w.Header(), res.Invocation)
	}
	var ferr *mayfly.FunctionError
	switch {
	case errors.As(err, &ferr):
		writeFunctionError(w, ferr)
	case err != nil:
		g.problem(w, err)
	case res.Body != nil:
		g.writeStream(w, r, res)
	default:
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(res.Payload)))
		_, _ = w.Write(res.Payload)
	}
}

// writeFunctionError is the body that Lambda's Invoke gives for a failed
// function; the header tells it from a result.
func writeFunctionError(w http.ResponseWriter, e *mayfly.FunctionError) {
	status := mayfly.FunctionFailed.HTTPStatus()
	w.Header().Set(ErrorHeader, string(mayfly.FunctionFailed))
	if e.Type == mayfly.ErrorTypeTimeout {
		status = mayfly.Timeout.HTTPStatus()
		w.Header().Set(ErrorHeader, string(mayfly.Timeout))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(e.Body(), '\n'))
}
