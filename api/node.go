package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/pool"
	"github.com/mayfly-cloud/mayfly/sandbox"
)

// Node is what the API tells of the machine and the process.
type Node interface {
	Status() Status
	Doctor(ctx context.Context) Doctor
	Instances() []pool.Stats
}

// Status is the node at a glance.
type Status struct {
	Version string       `json:"version"`
	Started time.Time    `json:"started"`
	Gateway string       `json:"gateway"`
	API     string       `json:"api"`
	S3      string       `json:"s3"`
	Tier    sandbox.Tier `json:"isolation"`
	Memory  mayfly.Bytes `json:"memory"` // resident, of the daemon
	Dev     bool         `json:"dev"`
}

// Doctor is what this machine can run and isolate, and why not.
type Doctor struct {
	Tier     sandbox.Tier   `json:"isolation"`
	Egress   Check          `json:"egress"` // can functions be let out
	GVisor   Check          `json:"gvisor"` // the tier that functions may ask for
	Runtimes []RuntimeCheck `json:"runtimes"`
}

// Check is whether something works here.
type Check struct {
	OK      bool   `json:"ok"`
	Problem string `json:"problem,omitempty"` // and how to mend it
}

// RuntimeCheck is whether one runtime works here.
type RuntimeCheck struct {
	Runtime mayfly.Runtime `json:"runtime"`
	Check
}

type (
	statusOutput    struct{ Body Status }
	doctorOutput    struct{ Body Doctor }
	instancesOutput struct {
		Body struct {
			Instances []pool.Stats `json:"instances"`
		}
	}
)

func (a *API) registerNode() {
	huma.Register(a.huma, huma.Operation{
		OperationID: "get-node", Method: http.MethodGet, Path: "/v1/node", Summary: "The node at a glance", Tags: []string{"node"},
	}, func(context.Context, *struct{}) (*statusOutput, error) {
		return &statusOutput{a.cfg.Node.Status()}, nil
	})
	huma.Register(a.huma, huma.Operation{
		OperationID: "get-doctor", Method: http.MethodGet, Path: "/v1/doctor", Summary: "What the machine can run and isolate", Tags: []string{"node"},
	}, func(ctx context.Context, _ *struct{}) (*doctorOutput, error) {
		return &doctorOutput{a.cfg.Node.Doctor(ctx)}, nil
	})
	huma.Register(a.huma, huma.Operation{
		OperationID: "list-instances", Method: http.MethodGet, Path: "/v1/instances", Summary: "Instances and waiting calls, by version", Tags: []string{"node"},
	}, func(context.Context, *struct{}) (*instancesOutput, error) {
		out := &instancesOutput{}
		out.Body.Instances = append([]pool.Stats{}, a.cfg.Node.Instances()...)
		return out, nil
	})
}
