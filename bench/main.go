package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// benchmark fills a table.
type benchmark struct {
	name, title string
	run         func(ctx context.Context, s *session, t *table) error
	alone       bool // only where it is named: it takes minutes
}

// benchmarks in the order in which they run.
func benchmarks() []benchmark {
	return []benchmark{
		{"start", "exec to ready file, an application of five functions", benchStart, false},
		{"warm", "an echo over HTTP: latency at 1 connection, throughput at 32", benchWarm, false},
		{"telemetry", "the same with logs, traces and metrics of calls, and without", benchTelemetry, true},
		{"logs", "a million lines that functions print: kept, followed and searched", benchLogs, true},
		{"cold", "first byte of a call that finds no instance, next to plain process start", benchCold, false},
		{"save", "a saved change to its first answer", benchSave, false},
		{"redeploy", "load at 32 connections while ten new versions go live", benchRedeploy, false},
		{"burst", "0 to 200 Python instances at once", benchBurst, false},
		{"async", "asynchronous calls: accepted on disk, and processed", benchAsync, false},
		{"kill", "kill -9 during asynchronous load: accepted calls that were executed", benchKill, false},
		{"killqueue", "kill -9 at random while 5,000 messages a second flow through a queue with a failing function", benchKillQueue, false},
		{"queue", "messages of a queue: accepted, and processed in batches of ten", benchQueue, false},
		{"topic", "events of a topic: accepted, and processed in batches of ten", benchTopic, false},
		{"latency", "from sending an event to the beginning of its function, at 500/s", benchLatency, false},
		{"schedule", "from the time at which a schedule is due to the beginning of its function", benchSchedule, false},
		{"kv", "key-value store over the public API, and from inside functions", benchKV, false},
		{"s3", "objects over the S3 API, next to the library alone", benchS3, false},
		{"sql", "SQLite over HTTP beside in a process, and a thousand calls that share twenty connections to PostgreSQL", benchSQL, false},
		{"instances", "a thousand sandboxes that share twenty connections to PostgreSQL, with a session each", benchInstances, true},
		{"idle", "memory while nothing is called", benchIdle, false},
		{"build", "go build with an empty cache, and what comes of it", benchBuild, true},
		{"soak", "what a node holds after mixed load with instances killed at random (-soak 30m)", benchSoak, true},
	}
}

// session is one run of this program.
type session struct {
	dir      string // temporary; removed at the end
	module   string // root of the source tree
	binary   string // mayfly
	rounds   int
	duration time.Duration // of one throughput measurement
	soak     time.Duration
	cases    []string  // names of functions to measure; empty: all
	verbose  io.Writer // progress
	tools    map[string]string
}

func main() {
	if peer := os.Getenv(peerVariable); peer != "" {
		servePeer()
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	s := &session{verbose: stderr}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	asJSON := f.Bool("json", false, "print JSON")
	asMarkdown := f.Bool("markdown", false, "print tables for a document")
	f.StringVar(&s.binary, "binary", "", "a built mayfly (default: build it)")
	f.IntVar(&s.rounds, "rounds", 3, "rounds of each measurement; figures are their medians")
	f.DurationVar(&s.duration, "duration", 2*time.Second, "of one throughput measurement")
	f.DurationVar(&s.soak, "soak", time.Minute, "how long soak goes on")
	cases := f.String("cases", "", "measure only these functions, such as python,node,binary")
	f.Usage = func() { usage(f) }
	if err := f.Parse(args); err != nil {
		return err
	}
	if *cases != "" {
		s.cases = strings.Split(*cases, ",")
	}
	chosen, err := choose(f.Args())
	if err != nil {
		return err
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	defer os.RemoveAll(s.dir)
	r := &report{Machine: describeMachine(), out: stdout, format: text}
	switch {
	case *asJSON:
		r.format = inJSON
	case *asMarkdown:
		r.format = markdown
	}
	r.begin()
	for _, b := range chosen {
		t := &table{Name: b.name, Title: b.title}
		r.Tables = append(r.Tables, t)
		fmt.Fprintf(s.verbose, "%s…\n", b.name)
		if err := b.run(ctx, s, t); err != nil {
			t.note("failed: %v", err)
		}
		r.say(t)
		if ctx.Err() != nil {
			break
		}
	}
	return r.end()
}

func usage(f *flag.FlagSet) {
	fmt.Fprintln(f.Output(), "usage: go run ./bench [flags] [all | names…]")
	for _, b := range benchmarks() {
		fmt.Fprintf(f.Output(), "  %-10s %s\n", b.name, b.title)
	}
	f.PrintDefaults()
}

func choose(names []string) ([]benchmark, error) {
	all := benchmarks()
	if len(names) == 0 || slices.Equal(names, []string{"all"}) {
		return slices.DeleteFunc(all, func(b benchmark) bool { return b.alone }), nil
	}
	var out []benchmark
	for _, n := range names {
		i := slices.IndexFunc(all, func(b benchmark) bool { return b.name == n })
		if i < 0 {
			return nil, fmt.Errorf("there is no benchmark %q; -h lists them", n)
		}
		out = append(out, all[i])
	}
	return out, nil
}

// prepare finds the tools and builds the binary.
func (s *session) prepare(ctx context.Context) (err error) {
	if s.dir, err = os.MkdirTemp("", "mayfly-bench-"); err != nil {
		return err
	}
	s.tools = map[string]string{}
	for _, name := range []string{"go", "node", "python3", "wrk"} {
		// The system's interpreter, where there is one: the first on PATH may be
		// a wrapper that is slow to start.
		if system := filepath.Join("/usr/bin", name); isExecutable(system) {
			s.tools[name] = system
		} else if path, err := exec.LookPath(name); err == nil {
			s.tools[name] = path
		}
	}
	if s.module, err = moduleRoot(ctx); err != nil {
		return err
	}
	if s.binary != "" {
		s.binary, err = filepath.Abs(s.binary)
		return err
	}
	s.binary = filepath.Join(s.dir, "mayfly")
	return s.build(ctx, s.binary, "./cmd/mayfly")
}

func isExecutable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env: %w", err)
	}
	mod := strings.TrimSpace(string(out))
	if filepath.Base(mod) != "go.mod" {
		return "", errors.New("run it in the source tree of mayfly")
	}
	return filepath.Dir(mod), nil
}

// benchBuild measures what whoever builds from source waits for.
func benchBuild(ctx context.Context, s *session, t *table) error {
	out := filepath.Join(s.dir, "built")
	began := time.Now()
	if err := s.build(ctx, out, "./cmd/mayfly", "GOCACHE="+filepath.Join(s.dir, "build-cache")); err != nil {
		return err
	}
	row := t.row("mayfly")
	row.add("build", "s", time.Since(began).Seconds())
	info, err := os.Stat(out)
	if err != nil {
		return err
	}
	row.add("binary", "MB", float64(info.Size())/1e6)
	return nil
}

// build compiles a package of this module; env is added to the environment.
func (s *session) build(ctx context.Context, out, pkg string, env ...string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, pkg)
	cmd.Dir = s.module
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, text)
	}
	return nil
}
