// Package container runs OCI images without a container engine. The bundle holds
// the image (package artifact/image); Prepare unpacks it, once for each image,
// into a root folder that all instances share read-only, each below an overlay
// of its own whose changes go to memory and end with it.
//
// The program is the handler's command line where there is one, else the image's
// entrypoint and command, with the image's environment, user and working folder.
// It is offered both ways of taking calls at its start, and the one that it uses
// first is what it is:
//
//	it accepts connections on $PORT        it serves HTTP, as package httpserver's
//	it asks AWS_LAMBDA_RUNTIME_API         it takes events, as package binary's
//
// Images need cells with a root folder of their own, which takes namespaces.
package container
