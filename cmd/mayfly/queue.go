package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/mayfly-cloud/mayfly"
)

// queueInfo is a queue as the API describes it.
type queueInfo struct {
	Name      string `json:"name"`
	Messages  int    `json:"messages"`
	Ready     int    `json:"ready"`
	Running   int    `json:"running"`
	Delayed   int    `json:"delayed"`
	Blocked   int    `json:"blocked"`
	Dead      int    `json:"dead"`
	Paused    bool   `json:"paused"`
	OldestAge string `json:"oldest_age"`
	Consumers []struct {
		Function string `json:"function"`
	} `json:"consumers"`
}

// queueMessage is a message that waits.
type queueMessage struct {
	ID       string          `json:"id"`
	State    string          `json:"state"`
	Why      string          `json:"why"`
	Age      string          `json:"age"`
	Attempts int             `json:"attempts"`
	Body     json.RawMessage `json:"body"`
}

// deadLetter is an event that was given up.
type deadLetter struct {
	ID       string          `json:"id"`
	Source   string          `json:"source"`
	Reason   string          `json:"reason"`
	Error    string          `json:"error"`
	Attempts int             `json:"attempts"`
	Died     time.Time       `json:"died"`
	Body     json.RawMessage `json:"body"`
}

// appCall calls an operation below the app's path.
func (g *globals) appCall(ctx context.Context, method, path string, in, out any) error {
	c, err := g.client()
	if err != nil {
		return err
	}
	app, err := g.appName(ctx, c)
	if err != nil {
		return err
	}
	return c.Do(ctx, method, "/v1/apps/"+url.PathEscape(app)+path, in, out)
}

// appRaw is appCall for verbs that show the reply as it is with --json.
func (g *globals) appRaw(ctx context.Context, method, path string, in, out any, human func(w io.Writer)) error {
	var raw json.RawMessage
	if err := g.appCall(ctx, method, path, in, &raw); err != nil {
		return err
	}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, out); err != nil {
			return fmt.Errorf("read the reply of %s: %w", path, err)
		}
	}
	return g.print(raw, human)
}

// appSend is appCall for an operation that has nothing to say; it says done.
func (g *globals) appSend(ctx context.Context, method, path string, in any, done string) error {
	if err := g.appCall(ctx, method, path, in, nil); err != nil {
		return err
	}
	return g.sent(done)
}

// table writes rows aligned below a head.
func table(w io.Writer, head string, rows [][]string) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, head)
	for _, row := range rows {
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	tw.Flush()
}

// shorten is a text on one line of at most n characters.
func shorten(s string, n int) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// jsonArg is an argument that is JSON, or else a text.
func jsonArg(s string) json.RawMessage {
	if json.Valid([]byte(s)) {
		return json.RawMessage(s)
	}
	b, _ := json.Marshal(s)
	return b
}

func newQueueCmd(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "queue",
		Short: "Queues: what waits and why, send, pause, dead letters",
		RunE:  func(cmd *cobra.Command, _ []string) error { return listQueues(cmd, g) },
		Args:  cobra.NoArgs,
	}
	cmd.AddCommand(
		&cobra.Command{Use: "list", Short: "The app's queues", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return listQueues(cmd, g) }},
		newQueueSendCmd(g), newQueuePeekCmd(g), newQueueReceiveCmd(g), newQueueDeadCmd(g), newQueueRedriveCmd(g),
		queueSwitch(g, "pause", "Stop deliveries; sends are still accepted"),
		queueSwitch(g, "resume", "Resume deliveries"),
		newQueuePurgeCmd(g),
	)
	return cmd
}

func queuePath(queue, rest string) string { return "/queues/" + url.PathEscape(queue) + rest }

func listQueues(cmd *cobra.Command, g *globals) error {
	var out struct {
		Queues []queueInfo `json:"queues"`
	}
	return g.appRaw(cmd.Context(), http.MethodGet, "/queues", nil, &out, func(w io.Writer) {
		var rows [][]string
		for _, q := range out.Queues {
			var consumers []string
			for _, c := range q.Consumers {
				consumers = append(consumers, c.Function)
			}
			state := "open"
			if q.Paused {
				state = "paused"
			}
			rows = append(rows, []string{
				q.Name, state, fmt.Sprint(q.Messages), fmt.Sprint(q.Ready), fmt.Sprint(q.Running), fmt.Sprint(q.Delayed),
				fmt.Sprint(q.Blocked), fmt.Sprint(q.Dead), q.OldestAge, strings.Join(consumers, " "),
			})
		}
		table(w, "QUEUE\tSTATE\tMESSAGES\tREADY\tRUNNING\tDELAYED\tBLOCKED\tDEAD\tOLDEST\tFUNCTIONS", rows)
	})
}

func newQueueSendCmd(g *globals) *cobra.Command {
	var key, dedup, delay string
	var attributes map[string]string
	cmd := &cobra.Command{
		Use:     "send QUEUE MESSAGE",
		Short:   "Send a message, JSON or text",
		Example: `  mayfly queue send mail '{"to": "a@example.com"}' --delay 10m`,
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := map[string]any{"body": jsonArg(args[1]), "key": key, "deduplication_id": dedup, "delay": delay, "attributes": attributes}
			var out struct {
				Messages []struct {
					ID string `json:"id"`
				} `json:"messages"`
			}
			return g.appRaw(cmd.Context(), http.MethodPost, queuePath(args[0], "/messages"), in, &out, func(w io.Writer) {
				for _, m := range out.Messages {
					fmt.Fprintln(w, m.ID)
				}
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&key, "key", "", "the key of a queue with order_by: key")
	f.StringVar(&dedup, "dedup", "", "a deduplication id")
	f.StringVar(&delay, "delay", "", "not before this long from now, such as 10m")
	f.StringToStringVar(&attributes, "attribute", nil, "NAME=VALUE, several times")
	return cmd
}

func newQueuePeekCmd(g *globals) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   "peek QUEUE",
		Short: "Show messages and why each waits",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var out struct {
				Messages []queueMessage `json:"messages"`
			}
			return g.appRaw(cmd.Context(), http.MethodGet, queuePath(args[0], fmt.Sprintf("/messages?limit=%d", limit)), nil, &out, func(w io.Writer) {
				var rows [][]string
				for _, m := range out.Messages {
					rows = append(rows, []string{m.ID, m.State, m.Age, fmt.Sprint(m.Attempts), shorten(string(m.Body), 40), m.Why})
				}
				table(w, "MESSAGE\tSTATE\tAGE\tFAILED\tBODY\tWHY", rows)
			})
		},
	}
	cmd.Flags().IntVarP(&limit, "limit", "n", 20, "most messages")
	return cmd
}

func newQueueReceiveCmd(g *globals) *cobra.Command {
	var n int
	var wait, visibility string
	cmd := &cobra.Command{
		Use:   "receive QUEUE",
		Short: "Receive messages and finish them",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var out struct {
				Messages []struct {
					Receipt string          `json:"receipt"`
					Body    json.RawMessage `json:"body"`
				} `json:"messages"`
			}
			in := map[string]any{"max": n, "wait": wait, "visibility": visibility}
			if err := g.appRaw(cmd.Context(), http.MethodPost, queuePath(args[0], "/receive"), in, &out, func(w io.Writer) {
				for _, m := range out.Messages {
					fmt.Fprintln(w, string(m.Body))
				}
			}); err != nil || len(out.Messages) == 0 {
				return err
			}
			receipts := make([]string, len(out.Messages))
			for i, m := range out.Messages {
				receipts[i] = m.Receipt
			}
			return g.appCall(cmd.Context(), http.MethodPost, queuePath(args[0], "/acknowledge"), map[string]any{"receipts": receipts}, nil)
		},
	}
	f := cmd.Flags()
	f.IntVarP(&n, "max", "n", 1, "most messages")
	f.StringVar(&wait, "wait", "0s", "wait this long for the first")
	f.StringVar(&visibility, "visibility", "30s", "length of the lease")
	return cmd
}

// deadQuery chooses dead letters.
type deadQuery struct {
	source, reason, text string
	limit                int
}

func (q *deadQuery) flags(cmd *cobra.Command, limit int) {
	f := cmd.Flags()
	f.StringVar(&q.reason, "reason", "", "only these: attempts, expired, hops or rejected")
	f.StringVar(&q.text, "text", "", "only with this text in the error or the body")
	f.IntVarP(&q.limit, "limit", "n", limit, "most dead letters, the oldest first")
}

// set makes the source of an argument: a queue's name, or KIND/NAME.
func (q *deadQuery) set(args []string) {
	if len(args) == 0 {
		return
	}
	if q.source = args[0]; !strings.Contains(q.source, "/") {
		q.source = "queue/" + q.source
	}
}

func (q *deadQuery) String() string {
	v := url.Values{}
	if q.limit > 0 {
		v.Set("limit", fmt.Sprint(q.limit))
	}
	for name, value := range map[string]string{"source": q.source, "reason": q.reason, "text": q.text} {
		if value != "" {
			v.Set(name, value)
		}
	}
	return v.Encode()
}

func newQueueDeadCmd(g *globals) *cobra.Command {
	q := &deadQuery{}
	cmd := &cobra.Command{
		Use:   "dead [QUEUE | function/NAME | topic/NAME | stream/NAME]",
		Short: "Show dead letters, of queues and of all else",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.set(args)
			var out struct {
				Letters []deadLetter `json:"dead_letters"`
			}
			return g.appRaw(cmd.Context(), http.MethodGet, "/dead-letters?"+q.String(), nil, &out, func(w io.Writer) {
				var rows [][]string
				for _, l := range out.Letters {
					rows = append(rows, []string{l.ID, l.Source, l.Reason, fmt.Sprint(l.Attempts), l.Died.Local().Format(time.DateTime), shorten(l.Error, 60)})
				}
				table(w, "DEAD LETTER\tSOURCE\tREASON\tATTEMPTS\tDIED\tERROR", rows)
			})
		},
	}
	q.flags(cmd, 100)
	return cmd
}

func newQueueRedriveCmd(g *globals) *cobra.Command {
	q := &deadQuery{}
	var id, to string
	cmd := &cobra.Command{
		Use:   "redrive [QUEUE | function/NAME | topic/NAME | stream/NAME]",
		Short: "Try dead letters again: one, some, or all of a source",
		Example: `  mayfly queue redrive jobs --text "connection refused"
  mayfly queue redrive jobs --to queue/slow
  mayfly queue redrive --id 00000000-0001-8000-8000-000000000000`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.set(args)
			if q.source == "" && id == "" {
				return mayfly.Errorf(mayfly.Invalid, "", "say which: a queue, function/NAME, topic/NAME, stream/NAME, or --id")
			}
			var out struct {
				Count int `json:"count"`
			}
			return g.appRaw(cmd.Context(), http.MethodPost, "/dead-letters/redrive?"+q.String(), map[string]any{"id": id, "to": to}, &out, func(w io.Writer) {
				fmt.Fprintf(w, "%d redriven\n", out.Count)
			})
		},
	}
	q.flags(cmd, 0)
	cmd.Flags().StringVar(&id, "id", "", "one dead letter")
	cmd.Flags().StringVar(&to, "to", "", "another target: queue/NAME, topic/NAME or function/NAME")
	return cmd
}

func queueSwitch(g *globals, verb, short string) *cobra.Command {
	return &cobra.Command{
		Use: verb + " QUEUE", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var out queueInfo
			return g.appRaw(cmd.Context(), http.MethodPost, queuePath(args[0], "/"+verb), nil, &out, func(w io.Writer) {
				fmt.Fprintf(w, "%s is %sd, with %d messages\n", out.Name, verb, out.Messages)
			})
		},
	}
}

func newQueuePurgeCmd(g *globals) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "purge QUEUE",
		Short: "Drop all messages that nobody has received",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !yes {
				return mayfly.Errorf(mayfly.Invalid, "", "this drops the messages of %s for good; say --yes to do it", args[0])
			}
			var out struct {
				Removed int `json:"removed"`
			}
			return g.appRaw(cmd.Context(), http.MethodDelete, queuePath(args[0], "/messages"), nil, &out, func(w io.Writer) {
				fmt.Fprintf(w, "%d messages removed\n", out.Removed)
			})
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	return cmd
}
