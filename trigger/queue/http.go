package queue

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/trigger"
)

// Path names a queue; exported so that huma fills it.
type Path struct {
	App   mayfly.AppName `path:"app" doc:"The app that declares the queue"`
	Queue string         `path:"queue" doc:"The queue's name"`
}

// MessagePath names a message of a queue.
type MessagePath struct {
	Path
	ID string `path:"id" doc:"The message's id"`
}

// MessageIn is a message to send.
type MessageIn struct {
	Body       json.RawMessage   `json:"body,omitempty" doc:"Any JSON; handlers get a string as it is"`
	Key        string            `json:"key,omitempty" maxLength:"512" doc:"For order_by: key"`
	DedupID    string            `json:"deduplication_id,omitempty" maxLength:"512" doc:"A second message with it within the queue's window is the first"`
	Delay      string            `json:"delay,omitempty" doc:"Not before this long from now, such as 30s"`
	At         time.Time         `json:"at,omitzero" doc:"Or not before this time"`
	Attributes map[string]string `json:"attributes,omitempty"`
}

type sendInput struct {
	Path
	TraceParent string `header:"traceparent"`
	Hops        string `header:"X-Mayfly-Hops"`
	Body        struct {
		MessageIn
		Messages []MessageIn `json:"messages,omitempty" maxItems:"1000" doc:"Several at once: all are accepted, or none"`
	}
}

type sendOutput struct {
	Body struct {
		Messages []Sent `json:"messages"`
	}
}

type listInput struct {
	App mayfly.AppName `path:"app"`
}

type listOutput struct {
	Body struct {
		Queues []*Info `json:"queues"`
	}
}

type infoOutput struct{ Body *Info }

type peekInput struct {
	Path
	Limit int `query:"limit" default:"20" minimum:"1" maximum:"1000"`
}

type peekOutput struct {
	Body struct {
		Messages []View `json:"messages"`
	}
}

type viewOutput struct{ Body *View }

type purgeOutput struct {
	Body struct {
		Removed int `json:"removed"`
	}
}

type receiveInput struct {
	Path
	Body *receiveBody // nil: none was sent
}

type receiveBody struct {
	Max        int    `json:"max,omitempty" minimum:"0" maximum:"1000" doc:"Most messages; default 1"`
	Wait       string `json:"wait,omitempty" doc:"Wait this long for the first; default 0s, at most 60s"`
	Visibility string `json:"visibility,omitempty" doc:"Length of the lease; default the queue's"`
}

type receiveOutput struct {
	Body struct {
		Messages []Received `json:"messages"`
	}
}

type settleInput struct {
	Path
	Body struct {
		Receipts   []string `json:"receipts" minItems:"1" maxItems:"1000"`
		Visibility string   `json:"visibility,omitempty" doc:"extend: how long from now; default the queue's"`
		Delay      string   `json:"delay,omitempty" doc:"release: offered again after this long"`
		Failed     string   `json:"failed,omitempty" doc:"release: why the attempt failed; without it the attempt does not count"`
	}
}

type settleOutput struct {
	Body struct {
		Results []Outcome `json:"results"`
	}
}

// Register adds the operations on queues.
func (d *Driver) Register(api huma.API) {
	const base = "/v1/apps/{app}/queues"
	op := func(id, method, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: base + path, Summary: summary, Tags: []string{"Queues"}, MaxBodyBytes: 9 << 20}
	}
	huma.Register(api, op("list-queues", http.MethodGet, "", "List an app's queues with what waits in them"), d.httpList)
	huma.Register(api, op("get-queue", http.MethodGet, "/{queue}", "Describe a queue"), d.httpInfo)
	huma.Register(api, op("send-messages", http.MethodPost, "/{queue}/messages", "Send one message or several"), d.httpSend)
	huma.Register(api, op("peek-messages", http.MethodGet, "/{queue}/messages", "Show messages and why they wait"), d.httpPeek)
	huma.Register(api, op("purge-queue", http.MethodDelete, "/{queue}/messages", "Drop all messages that nobody has received"), d.httpPurge)
	huma.Register(api, op("get-message", http.MethodGet, "/{queue}/messages/{id}", "Show one message and why it waits"), d.httpFind)
	huma.Register(api, op("delete-message", http.MethodDelete, "/{queue}/messages/{id}", "Drop one message"), d.httpDelete)
	huma.Register(api, op("receive-messages", http.MethodPost, "/{queue}/receive", "Lease messages"), d.httpReceive)
	huma.Register(api, op("acknowledge-messages", http.MethodPost, "/{queue}/acknowledge", "Finish received messages"), d.httpAcknowledge)
	huma.Register(api, op("extend-messages", http.MethodPost, "/{queue}/extend", "Keep received messages longer"), d.httpExtend)
	huma.Register(api, op("release-messages", http.MethodPost, "/{queue}/release", "Give received messages back"), d.httpRelease)
	huma.Register(api, op("pause-queue", http.MethodPost, "/{queue}/pause", "Stop deliveries; sends are still accepted"), d.httpPause)
	huma.Register(api, op("resume-queue", http.MethodPost, "/{queue}/resume", "Resume deliveries"), d.httpResume)
}

func (d *Driver) may(ctx context.Context, in *Path, verb string) error {
	return mayfly.Authorize(ctx, d.cfg.Authorize, in.App, verb, "queue", in.Queue)
}

func (d *Driver) httpList(ctx context.Context, in *listInput) (*listOutput, error) {
	m, ok := d.cfg.Apps.Manifest(in.App)
	if !ok {
		return nil, mayfly.Errorf(mayfly.NotFound, "list queues", "there is no app %s", in.App)
	}
	out := &listOutput{}
	out.Body.Queues = []*Info{}
	for name := range m.Queues {
		if d.may(ctx, &Path{in.App, name}, "read") != nil {
			continue
		}
		if info, err := d.Info(in.App, name); err == nil {
			out.Body.Queues = append(out.Body.Queues, info)
		}
	}
	slices.SortFunc(out.Body.Queues, func(a, b *Info) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return out, nil
}

func (d *Driver) httpInfo(ctx context.Context, in *Path) (*infoOutput, error) {
	if err := d.may(ctx, in, "read"); err != nil {
		return nil, err
	}
	info, err := d.Info(in.App, in.Queue)
	if err != nil {
		return nil, err
	}
	return &infoOutput{info}, nil
}

func (d *Driver) httpSend(ctx context.Context, in *sendInput) (*sendOutput, error) {
	if err := d.may(ctx, &in.Path, "send"); err != nil {
		return nil, err
	}
	list := in.Body.Messages
	if len(list) == 0 {
		list = []MessageIn{in.Body.MessageIn}
	} else if in.Body.Body != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, "send to queue "+in.Queue, "both body and messages are given; choose one")
	}
	trace, hops := trigger.Cause(ctx, in.TraceParent, in.Hops)
	messages := make([]*mayfly.Message, len(list))
	for i, m := range list {
		messages[i] = &mayfly.Message{Body: m.Body, Key: m.Key, DedupID: m.DedupID, At: m.At, Attributes: m.Attributes, Trace: trace, Hops: hops}
		if m.Delay == "" {
			continue
		}
		delay, err := mayfly.ParseDuration(m.Delay)
		if err != nil {
			return nil, err
		}
		messages[i].At = time.Now().Add(delay.D())
	}
	sent, err := d.Send(ctx, in.App, in.Queue, messages...)
	if err != nil {
		return nil, err
	}
	out := &sendOutput{}
	out.Body.Messages = sent
	return out, nil
}

func (d *Driver) httpPeek(ctx context.Context, in *peekInput) (*peekOutput, error) {
	if err := d.may(ctx, &in.Path, "read"); err != nil {
		return nil, err
	}
	views, err := d.Peek(ctx, in.App, in.Queue, in.Limit)
	out := &peekOutput{}
	out.Body.Messages = views
	return out, err
}

func (d *Driver) httpPurge(ctx context.Context, in *Path) (*purgeOutput, error) {
	if err := d.may(ctx, in, "delete"); err != nil {
		return nil, err
	}
	n, err := d.Purge(in.App, in.Queue)
	out := &purgeOutput{}
	out.Body.Removed = n
	return out, err
}

func (d *Driver) httpFind(ctx context.Context, in *MessagePath) (*viewOutput, error) {
	if err := d.may(ctx, &in.Path, "read"); err != nil {
		return nil, err
	}
	v, err := d.Find(ctx, in.App, in.Queue, in.ID)
	return &viewOutput{v}, err
}

func (d *Driver) httpDelete(ctx context.Context, in *MessagePath) (*struct{}, error) {
	if err := d.may(ctx, &in.Path, "delete"); err != nil {
		return nil, err
	}
	return nil, d.Delete(ctx, in.App, in.Queue, in.ID)
}

// span reads a duration of a request, within a bound.
func span(what, s string, most time.Duration) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	d, err := mayfly.ParseDuration(s)
	if err != nil {
		return 0, err
	}
	if d.D() > most {
		return 0, mayfly.Errorf(mayfly.Invalid, "", "%s is %s; choose at most %s", what, d, mayfly.Duration(most))
	}
	return d.D(), nil
}

func (d *Driver) httpReceive(ctx context.Context, in *receiveInput) (*receiveOutput, error) {
	if err := d.may(ctx, &in.Path, "receive"); err != nil {
		return nil, err
	}
	body := receiveBody{}
	if in.Body != nil {
		body = *in.Body
	}
	wait, err := span("wait", body.Wait, time.Minute)
	if err != nil {
		return nil, err
	}
	visibility, err := span("visibility", body.Visibility, 12*time.Hour)
	if err != nil {
		return nil, err
	}
	messages, err := d.Receive(ctx, in.App, in.Queue, max(1, body.Max), wait, visibility)
	out := &receiveOutput{}
	out.Body.Messages = messages
	return out, err
}

func (d *Driver) httpAcknowledge(ctx context.Context, in *settleInput) (*settleOutput, error) {
	if err := d.may(ctx, &in.Path, "receive"); err != nil {
		return nil, err
	}
	results, err := d.Acknowledge(ctx, in.App, in.Queue, in.Body.Receipts)
	return settled(results, err)
}

func settled(results []Outcome, err error) (*settleOutput, error) {
	out := &settleOutput{}
	out.Body.Results = results
	return out, err
}

func (d *Driver) httpExtend(ctx context.Context, in *settleInput) (*settleOutput, error) {
	if err := d.may(ctx, &in.Path, "receive"); err != nil {
		return nil, err
	}
	spec, err := d.spec(in.App, in.Queue)
	if err != nil {
		return nil, err
	}
	visibility, err := span("visibility", in.Body.Visibility, 12*time.Hour)
	if err != nil {
		return nil, err
	}
	if visibility == 0 {
		visibility = spec.Visibility.D()
	}
	results, err := d.Extend(ctx, in.App, in.Queue, in.Body.Receipts, visibility)
	return settled(results, err)
}

func (d *Driver) httpRelease(ctx context.Context, in *settleInput) (*settleOutput, error) {
	if err := d.may(ctx, &in.Path, "receive"); err != nil {
		return nil, err
	}
	delay, err := span("delay", in.Body.Delay, MaxDelay)
	if err != nil {
		return nil, err
	}
	results, err := d.Release(ctx, in.App, in.Queue, in.Body.Receipts, delay, in.Body.Failed)
	return settled(results, err)
}

func (d *Driver) httpPause(ctx context.Context, in *Path) (*infoOutput, error) {
	return d.httpSwitch(ctx, in, true)
}

func (d *Driver) httpResume(ctx context.Context, in *Path) (*infoOutput, error) {
	return d.httpSwitch(ctx, in, false)
}

func (d *Driver) httpSwitch(ctx context.Context, in *Path, paused bool) (*infoOutput, error) {
	if err := d.may(ctx, in, "write"); err != nil {
		return nil, err
	}
	if err := d.SetPaused(ctx, in.App, in.Queue, paused); err != nil {
		return nil, err
	}
	info, err := d.Info(in.App, in.Queue)
	return &infoOutput{info}, err
}
