// Package apart runs parts of a measurement in processes of their own, so that what one of them costs can be told from what
// the others do. A program that uses it calls [Main] first thing; it then starts itself again in another role:
//
//	func main() {
//		apart.Main(apart.Roles{"waypoint": apart.Waypoint})
//		p, err := apart.Start(ctx, "waypoint", apart.Options{Cores: []int{0}, Procs: 1}, configDir, certDir)
//		before, err := p.Stats()
//		...
//		err = p.Close()
//	}
//
// The roles are the code that the product runs; what is added is a way to ask the process what it holds.
package apart
