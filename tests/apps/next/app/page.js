import Link from 'next/link';
import { headers } from 'next/headers';
import { redirect } from 'next/navigation';
import Stock from './stock';

async function order(form) {
  'use server';
  redirect('/items/' + encodeURIComponent(form.get('item')) + '?ordered=1');
}

export default async function Page() {
  const who = (await headers()).get('x-postern-user');
  return <main>
    <h1>Shop</h1>
    <p id="who">{who}</p>
    <Stock />
    <Link id="next" href="/items/7">The seventh</Link>
    <form action={order}><input name="item" defaultValue="12" /><button id="order">Order</button></form>
  </main>;
}
