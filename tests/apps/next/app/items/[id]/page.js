export default async function Page({ params, searchParams }) {
  const { id } = await params;
  const { ordered } = await searchParams;
  return <main><h1 id="item">Item {id}</h1>{ordered && <p id="ordered">Ordered</p>}</main>;
}
