// Package kube keeps one picture of what a waypoint reads from the API server, and hands over a new one after every change.
//
//	cfg, err := kube.ConfigFrom("")   // in a pod; or the path of a kubeconfig
//	src, err := kube.New(kube.Options{
//		Config: cfg, Namespace: "bank", Gateway: "agents",
//		Apply: func(c *config.Cluster) { … }, // called by one goroutine, never before every kind was read once
//	})
//	go src.Run(ctx)
//	err = src.Ready()
//
// Every kind is listed in pages and then watched. Of each object only what a waypoint needs is kept, in the form in which
// it is handed over; an object that did not change in that respect keeps its pointers from one picture to the next.
//
// What is known stays known: while the API server is away, after a permission was taken back, and after a kind that was
// there is there no more. A kind that was never there counts as empty and is looked for again. An object that cannot be
// read is never left out: it is handed over as one that restricts and cannot be carried out, so that what it targets is
// refused.
//
// It writes nothing to the API server. Of ConfigMaps and Secrets it reads those that a policy names, each by a list and a watch of its
// own, so that a role can name them; a picture waits for them a moment, and says of one that cannot be read why.
package kube
