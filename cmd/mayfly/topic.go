package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// topicInfo is a topic as the API describes it.
type topicInfo struct {
	Name          string `json:"name"`
	Retention     string `json:"retention"`
	SchemaVersion int    `json:"schema_version"`
	Subscriptions []struct {
		Name    string `json:"name"`
		Waiting int    `json:"waiting"`
		Failing int    `json:"failing"`
	} `json:"subscriptions"`
}

func newTopicCmd(g *globals) *cobra.Command {
	list := func(cmd *cobra.Command, _ []string) error { return listTopics(cmd, g) }
	cmd := &cobra.Command{Use: "topic", Short: "Topics: publish, replay, schemas, outgoing webhooks", Args: cobra.NoArgs, RunE: list}
	cmd.AddCommand(
		&cobra.Command{Use: "list", Short: "The app's topics and who subscribes to them", Args: cobra.NoArgs, RunE: list},
		newTopicPublishCmd(g), newTopicEventsCmd(g), newTopicReplayCmd(g), newTopicStreamsCmd(g), newTopicStubCmd(g), newTopicAsyncAPICmd(g), newTopicHooksCmd(g),
	)
	return cmd
}

func topicPath(topic, rest string) string { return "/topics/" + url.PathEscape(topic) + rest }

func listTopics(cmd *cobra.Command, g *globals) error {
	var out struct {
		Topics []topicInfo `json:"topics"`
	}
	var consumed streamList
	if !g.json { // which shows the topics' reply as it is
		if err := g.appCall(cmd.Context(), http.MethodGet, "/streams", nil, &consumed); err != nil {
			return err
		}
	}
	return g.appRaw(cmd.Context(), http.MethodGet, "/topics", nil, &out, func(w io.Writer) {
		var rows [][]string
		for _, t := range out.Topics {
			schema := "none"
			if t.SchemaVersion > 0 {
				schema = fmt.Sprintf("v%d", t.SchemaVersion)
			}
			var subs []string
			for _, s := range t.Subscriptions {
				subs = append(subs, fmt.Sprintf("%s (%d waiting, %d failing)", s.Name, s.Waiting, s.Failing))
			}
			for _, s := range consumed.Streams {
				if s.Topic == t.Name {
					subs = append(subs, fmt.Sprintf("%s (stream, %d of %d partitions behind)", s.Function, s.behind(), len(s.Partitions)))
				}
			}
			rows = append(rows, []string{t.Name, schema, t.Retention, strings.Join(subs, ", ")})
		}
		table(w, "TOPIC\tSCHEMA\tKEPT\tSUBSCRIPTIONS", rows)
	})
}

// streamInfo is a function that consumes a topic in order, as the API describes
// it.
type streamInfo struct {
	Function   string `json:"function"`
	Topic      string `json:"topic"`
	Partitions []struct {
		Partition int    `json:"partition"`
		Position  string `json:"position"`
		Behind    string `json:"behind"`
		Failing   int    `json:"failing"`
		Error     string `json:"error"`
	} `json:"partitions"`
}

func (s *streamInfo) behind() (n int) {
	for _, p := range s.Partitions {
		if p.Behind != "" {
			n++
		}
	}
	return n
}

type streamList struct {
	Streams []streamInfo `json:"streams"`
}

func newTopicStreamsCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "streams", Short: "Functions that consume topics in order, and how far each partition is", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var out streamList
			return g.appRaw(cmd.Context(), http.MethodGet, "/streams", nil, &out, func(w io.Writer) {
				var rows [][]string
				for _, s := range out.Streams {
					for _, p := range s.Partitions {
						state := "up to date"
						if p.Behind != "" {
							state = p.Behind + " behind"
						}
						if p.Failing > 0 {
							state += fmt.Sprintf(", failed %d times: %s", p.Failing, shorten(p.Error, 80))
						}
						rows = append(rows, []string{s.Function, s.Topic, fmt.Sprint(p.Partition), p.Position, state})
					}
				}
				table(w, "FUNCTION\tTOPIC\tPARTITION\tPOSITION\tSTATE", rows)
			})
		},
	}
}

func newTopicPublishCmd(g *globals) *cobra.Command {
	var subject string
	cmd := &cobra.Command{
		Use:     "publish TOPIC DATA",
		Short:   "Publish an event with the data, JSON or text",
		Example: `  mayfly topic publish order.created '{"id": 42, "total": 129.5}'`,
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			app, err := g.appName(cmd.Context(), c)
			if err != nil {
				return err
			}
			event := map[string]any{"specversion": "1.0", "data": jsonArg(args[1])}
			if subject != "" {
				event["subject"] = subject
			}
			body, err := json.Marshal(event)
			if err != nil {
				return err
			}
			res, err := c.Send(cmd.Context(), http.MethodPost, "/v1/apps/"+url.PathEscape(app)+topicPath(args[0], "/events"), "application/cloudevents+json", strings.NewReader(string(body)))
			if err != nil {
				return err
			}
			defer res.Body.Close()
			var out struct {
				Events []struct {
					ID       string `json:"id"`
					Position string `json:"position"`
				} `json:"events"`
			}
			if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
				return err
			}
			return g.print(out, func(w io.Writer) {
				for _, e := range out.Events {
					fmt.Fprintln(w, e.ID)
				}
			})
		},
	}
	cmd.Flags().StringVar(&subject, "subject", "", "the event's subject, which orders streams")
	return cmd
}

func newTopicEventsCmd(g *globals) *cobra.Command {
	var from string
	var limit int
	cmd := &cobra.Command{
		Use:   "events TOPIC",
		Short: "Show events that were published",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := url.Values{"limit": {fmt.Sprint(limit)}}
			if from != "" {
				q.Set("from", from)
			}
			var out struct {
				Events []struct {
					Position  string          `json:"position"`
					Published time.Time       `json:"published"`
					Event     json.RawMessage `json:"event"`
				} `json:"events"`
				Next string `json:"next"`
			}
			return g.appRaw(cmd.Context(), http.MethodGet, topicPath(args[0], "/events?"+q.Encode()), nil, &out, func(w io.Writer) {
				var rows [][]string
				for _, e := range out.Events {
					var head struct {
						ID      string          `json:"id"`
						Subject string          `json:"subject"`
						Data    json.RawMessage `json:"data"`
					}
					_ = json.Unmarshal(e.Event, &head)
					rows = append(rows, []string{e.Position, e.Published.Local().Format(time.DateTime), head.ID, head.Subject, shorten(string(head.Data), 60)})
				}
				table(w, "POSITION\tPUBLISHED\tID\tSUBJECT\tDATA", rows)
				if out.Next != "" {
					fmt.Fprintf(w, "more: --from %s\n", out.Next)
				}
			})
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "a time, as 2026-12-01T08:00:00Z, or a position (default an hour ago)")
	cmd.Flags().IntVarP(&limit, "limit", "n", 20, "most events")
	return cmd
}

func newTopicReplayCmd(g *globals) *cobra.Command {
	var from, id, until string
	cmd := &cobra.Command{
		Use:   "replay TOPIC SUBSCRIPTION",
		Short: "Put events before one subscription again",
		Example: `  mayfly topic replay order.created mailer --from 2026-12-01T08:00:00Z
  mayfly topic replay order.created mailer --id 0a6b1c1e-6c1f-4b43-9f0e-6a5d7f3a1b2c`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := map[string]any{"subscription": args[1], "from": from, "from_id": id}
			if until != "" {
				in["until"] = until
			}
			var out struct {
				Events int `json:"events"`
			}
			return g.appRaw(cmd.Context(), http.MethodPost, topicPath(args[0], "/replay"), in, &out, func(w io.Writer) {
				fmt.Fprintf(w, "%d events\n", out.Events)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&from, "from", "", "from this time or position on")
	f.StringVar(&id, "id", "", "or from the event with this id on")
	f.StringVar(&until, "until", "", "up to this time (default now)")
	return cmd
}

func newTopicStubCmd(g *globals) *cobra.Command {
	var lang string
	cmd := &cobra.Command{
		Use:   "stub TOPIC",
		Short: "Write types of a topic's events from its schema",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var text []byte
			if err := g.appCall(cmd.Context(), http.MethodGet, topicPath(args[0], "/stub?language="+url.QueryEscape(lang)), nil, &text); err != nil {
				return err
			}
			return g.print(map[string]string{"topic": args[0], "language": lang, "text": string(text)}, func(w io.Writer) { _, _ = w.Write(text) })
		},
	}
	cmd.Flags().StringVar(&lang, "lang", "typescript", "python, typescript or go")
	return cmd
}

func newTopicAsyncAPICmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "asyncapi", Short: "Describe the app's topics as AsyncAPI", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var text []byte
			if err := g.appCall(cmd.Context(), http.MethodGet, "/asyncapi", nil, &text); err != nil {
				return err
			}
			_, err := fmt.Fprintln(g.out, string(text))
			return err
		},
	}
}

func newTopicHooksCmd(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use: "webhooks", Short: "Outgoing webhooks, and whether they deliver", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var out struct {
				Webhooks []struct {
					Name, URL, Topic, Disabled string
					Waiting                    int
				} `json:"webhooks"`
			}
			return g.appRaw(cmd.Context(), http.MethodGet, "/webhooks", nil, &out, func(w io.Writer) {
				var rows [][]string
				for _, h := range out.Webhooks {
					state := "enabled"
					if h.Disabled != "" {
						state = "disabled: " + h.Disabled
					}
					rows = append(rows, []string{h.Name, h.Topic, h.URL, fmt.Sprint(h.Waiting), state})
				}
				table(w, "WEBHOOK\tTOPIC\tURL\tWAITING\tSTATE", rows)
			})
		},
	}
	cmd.AddCommand(&cobra.Command{
		Use: "enable NAME", Short: "Let a disabled webhook deliver again", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.appSend(cmd.Context(), http.MethodPost, "/webhooks/"+url.PathEscape(args[0])+"/enable", nil, args[0]+" is enabled")
		},
	})
	return cmd
}
