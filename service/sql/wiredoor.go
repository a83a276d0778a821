package sql

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/coder/websocket"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/service"
)

// DoorPort is the loopback port inside every sandbox where the app's PostgreSQL
// databases speak their protocol.
const DoorPort = 9004

// SocketPattern is where the API has Socket.
const SocketPattern = "GET /v1/apps/{app}/databases/{database}/wire"

// Serve talks to the clients of one function, whose listener l is, until l
// closes. No password is asked.
func (d *Driver) Serve(l net.Listener, who mayfly.Caller) {
	ctx, cancel := context.WithCancel(mayfly.WithCaller(context.Background(), who))
	defer cancel()
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		own, end := context.WithCancel(ctx)
		go d.serveWire(own, end, conn, who.App, "", nil)
	}
}

// Socket is Serve over WebSockets, as @neondatabase/serverless speaks it. Where
// login is nil the request's context has the caller, else the password is what
// login takes.
func (d *Driver) Socket(login Login) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		app, name := mayfly.AppName(r.PathValue("app")), r.PathValue("database")
		if login == nil {
			if _, err := d.may(r.Context(), app, name); err != nil {
				p := mayfly.ProblemOf(err, false)
				w.Header().Set("Content-Type", "application/problem+json")
				w.WriteHeader(p.Status)
				_ = json.NewEncoder(w).Encode(p)
				return
			}
		}
		socket, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // nothing is known by cookies, from wherever a page is
		if err != nil {
			return // it has answered
		}
		ctx, cancel := context.WithCancel(r.Context())
		conn := websocket.NetConn(ctx, socket, websocket.MessageBinary)
		d.serveWire(ctx, cancel, conn, app, name, login)
	})
}

// wireEnviron are the variables by which PostgreSQL's clients find the databases
// that a function was granted: DATABASE_URL_NAME for each, and where there is one
// only, those that they read by themselves.
func (d *Driver) wireEnviron(m *mayfly.Manifest, fn mayfly.FunctionName, out map[string]string) {
	f := m.Functions[fn]
	host, port, err := net.SplitHostPort(d.cfg.Door)
	if f == nil || err != nil {
		return
	}
	var granted []string
	for name, spec := range m.Databases {
		if postgresSpec(spec) && grants(f.Allow, name) {
			granted = append(granted, name)
			out["DATABASE_URL_"+variable(name)] = d.wireURL(fn, name)
		}
	}
	if len(granted) != 1 {
		return
	}
	out["DATABASE_URL"] = d.wireURL(fn, granted[0])
	out["PGHOST"], out["PGPORT"], out["PGDATABASE"] = host, port, granted[0]
	out["PGUSER"], out["PGPASSWORD"], out["PGSSLMODE"] = string(fn), wirePassword, "disable"
}

// wirePassword is for clients that insist on one: a function needs none.
const wirePassword = "none"

func (d *Driver) wireURL(fn mayfly.FunctionName, name string) string {
	u := url.URL{Scheme: "postgresql", User: url.UserPassword(string(fn), wirePassword), Host: d.cfg.Door, Path: "/" + name, RawQuery: "sslmode=disable"}
	return u.String()
}

// grants reports whether a line allows to read or write a database.
func grants(allow []string, name string) bool {
	for _, line := range allow {
		g, err := mayfly.ParseGrant(line)
		if err != nil || g.Kind != service.KindDatabase || g.Verb != "*" && g.Verb != service.Read && g.Verb != service.Write {
			continue
		}
		if ok, err := path.Match(g.Name, name); err == nil && ok {
			return true
		}
	}
	return false
}

// variable is a database's name in those of variables.
func variable(name string) string { return strings.ToUpper(strings.ReplaceAll(name, "-", "_")) }
