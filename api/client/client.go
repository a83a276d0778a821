package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/mayfly-cloud/mayfly"
)

// Client calls one node's API. It is safe for concurrent use.
type Client struct {
	Base  string       // "http://127.0.0.1:8081"
	Token string       // sent as a bearer token where not empty
	HTTP  *http.Client // default http.DefaultClient
}

// Do calls method path with in as its JSON body (none where nil; an io.Reader
// is sent as it is) and reads the JSON reply into out (dropped where nil). The
// error is the *mayfly.Error or *mayfly.FunctionError that the API answered.
func (c *Client) Do(ctx context.Context, method, path string, in, out any) error {
	body, kind, err := encode(in)
	if err != nil {
		return err
	}
	res, err := c.Send(ctx, method, path, kind, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if out == nil {
		_, err = io.Copy(io.Discard, res.Body)
		return err
	}
	if raw, ok := out.(*[]byte); ok {
		*raw, err = io.ReadAll(res.Body)
		return err
	}
	if err := json.NewDecoder(res.Body).Decode(out); err != nil && err != io.EOF {
		return fmt.Errorf("read the reply of %s %s: %w", method, path, err)
	}
	return nil
}

func encode(in any) (body io.Reader, kind string, err error) {
	switch v := in.(type) {
	case nil:
		return nil, "", nil
	case io.Reader:
		return v, "application/octet-stream", nil
	}
	b, err := json.Marshal(in)
	return bytes.NewReader(b), "application/json", err
}

// Send calls the API and returns a reply with a status below 400; the caller
// closes its body.
func (c *Client) Send(ctx context.Context, method, path, kind string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.Base, "/")+path, body)
	if err != nil {
		return nil, err
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	req.Header.Set("Accept", "application/json")
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, c.explain(err)
	}
	if res.StatusCode < 400 {
		return res, nil
	}
	defer res.Body.Close()
	return nil, problem(res)
}

// explain says what an error of the connection means to whoever typed a verb.
func (c *Client) explain(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return mayfly.Errorf(mayfly.Unavailable, "", "no mayfly answers at %s; start one with mayfly dev or mayfly serve, or set MAYFLY_API", c.Base)
	}
	var uerr *url.Error
	if errors.As(err, &uerr) {
		err = uerr.Err
	}
	return c.broken(err)
}

// broken tells a connection that broke off from an error that has a meaning of
// its own, such as one of what was being sent.
func (c *Client) broken(err error) error {
	if mayfly.CodeOf(err) != mayfly.Internal || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	var op *net.OpError
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &op) {
		return mayfly.Errorf(mayfly.Unavailable, "", "mayfly at %s broke off before it had answered in full: %w", c.Base, err)
	}
	return err
}

func problem(res *http.Response) error {
	var p mayfly.Problem
	body, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	err := json.Unmarshal(body, &p)
	if err == nil && p.FunctionError != nil && p.FunctionError.Type != "" {
		return p.FunctionError
	}
	if text := prometheusError(body); text != "" && res.StatusCode == http.StatusBadRequest {
		return &mayfly.Error{Code: mayfly.Invalid, Message: text}
	}
	if err != nil || p.Code == "" {
		return mayfly.Errorf(mayfly.Internal, "", "%s: %s", res.Status, bytes.TrimSpace(body))
	}
	return &mayfly.Error{Code: p.Code, Message: p.Detail}
}

// prometheusError is what an error of Prometheus's API says, "" of any other.
func prometheusError(body []byte) string {
	var reply struct {
		Status, Error string
	}
	if json.Unmarshal(body, &reply) != nil || reply.Status != "error" {
		return ""
	}
	return reply.Error
}

// Lines calls each with every line of a streamed reply (newline-delimited JSON,
// or the data of server-sent events) until the stream ends, each fails, or ctx
// ends.
func (c *Client) Lines(ctx context.Context, method, path, kind string, body io.Reader, each func(line []byte) error) error {
	res, err := c.Send(ctx, method, path, kind, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	sc := bufio.NewScanner(res.Body)
	sc.Buffer(make([]byte, 64<<10), 16<<20)
	for sc.Scan() {
		line := sc.Bytes()
		if data, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			line = bytes.TrimSpace(data)
		}
		if len(line) == 0 || line[0] != '{' {
			continue
		}
		if err := each(line); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return c.broken(sc.Err())
}
