//go:build !linux

package process

var linuxProbes map[string]func() error

func waitStock(*Launcher) {}
